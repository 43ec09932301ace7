"""A dump holds what the trainer did: each pass is made again outside, and the run's own metrics come out of it."""

import copy
import math
from collections import Counter

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback

import reference
from entrostat import dump
from entrostat.engines.dump import check_dumping, weighed_by
from entrostat.engines.trl import PREFIX, EntropyControlGRPOTrainer
from entrostat.objectives.gppo import CeGppo

SIDE = {None: 0, "low": -1, "high": 1}


class Weights(TrainerCallback):
    """Keeps the model as it was before each update."""

    def __init__(self):
        self.before = []

    def on_step_begin(self, args, state, control, model=None, **_):
        self.before.append(copy.deepcopy(model.state_dict()))


def trained(
    lab, folder, *, kind=EntropyControlGRPOTrainer, every=1, resume=None, strategy="grpo", share=1.0, **changes
):
    extra = {name: changes.pop(name) for name in ("callbacks", "reward", "objective") if name in changes}
    into = {"dump_every": every, "dump_dir": folder} if every else {}
    args = lab.config(**({"max_steps": 4} | changes))
    made = lab.trainer(kind, args=args, strategy=strategy, attribution_share=share, **extra, **into)
    made.train(resume_from_checkpoint=resume)
    return made


def rows_of(folder):
    return pa.Table.from_batches(list(dump.read(folder))).to_pylist()


def tokens_of(rows):
    """A dict a trained token, with the scalars of its row."""
    return [
        {name: value[at] if isinstance(value, list) else value for name, value in row.items()}
        for row in rows
        for at, kept in enumerate(row["mask"])
        if kept
    ]


def logged(made):
    return [
        {k: v for k, v in line.items() if k.startswith(PREFIX)} for line in made.state.log_history if "loss" in line
    ]


def outside(made, row, weights):
    """(logprob, entropy, sum p^2, sum p^2 ln p) of each token: one sequence alone, in a model that TRL never had."""
    model = AutoModelForCausalLM.from_config(made.model.config).eval()
    model.load_state_dict(weights)
    prompt = made.processing_class(row["prompt"])["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + row["tokens"]])).logits[0, len(prompt) - 1 : -1]
    stats = [reference.stats(z, a, made.temperature) for z, a in zip(logits.tolist(), row["tokens"], strict=True)]
    return list(zip(*stats, strict=True))


def close(values):
    # TRL's entropy is a difference of float32 numbers of the size of its logits, some 20
    return pytest.approx(values, rel=1e-5, abs=1e-5)


def assert_metrics(tokens, line):
    """Clip shares, region shares and the entropy change of each region, by the scalar definitions."""
    n, count, change = len(tokens), Counter(), Counter()
    for t in tokens:
        logratio = t["logprobs"] - t["old_logprobs"]
        event = reference.clip_event(logratio, t["advantages"], t["low"], t["high"])
        assert t["clipped"] == SIDE[event]
        count[event] += 1
        q = math.exp(t["logprobs"]) * (t["logprobs"] + t["entropy"])
        mean = t["sum_p2_logp"] + t["entropy"] * t["sum_p2"]
        if region := reference.region(t["logprobs"], t["entropy"], t["advantages"]):
            count[region] += 1
            change[region, event is None] += -t["advantages"] * math.exp(logratio) * (q - mean)
    assert line["entrostat/clip_low"] == pytest.approx(count["low"] / n, rel=1e-6)
    assert line["entrostat/clip_high"] == pytest.approx(count["high"] / n, rel=1e-6)
    for i in range(1, 5):
        assert line[f"entrostat/E{i}/share"] == pytest.approx(count[i] / n, rel=1e-6)
        for kept, what in ((True, "kept"), (False, "clipped")):
            assert line[f"entrostat/E{i}/change_{what}"] == pytest.approx(change[i, kept] / n, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_every_pass_is_that_of_the_model_before_its_update(lab, tmp_path, temperature):
    weights = Weights()
    made = trained(lab, tmp_path / "d", callbacks=[weights], temperature=temperature)
    rows = rows_of(tmp_path / "d")
    assert [row["update"] for row in rows] == [i // 8 for i in range(32)]
    assert sorted(row["sample"] for row in rows) == list(range(32))
    assert all(row["group"] == row["sample"] // 4 for row in rows)
    for row in rows:
        logprobs, entropy, sum_p2, sum_p2_logp = outside(made, row, weights.before[row["update"]])
        assert row["logprobs"] == close(logprobs)
        assert row["entropy"] == close(entropy)
        assert row["sum_p2"] == close(sum_p2)
        assert row["sum_p2_logp"] == close(sum_p2_logp)
        old_logprobs, old_entropy, *_ = outside(made, row, weights.before[0])
        assert row["old_logprobs"] == close(old_logprobs)
        assert row["old_entropy"] == close(old_entropy)
    assert any(row["logprobs"] != close(row["old_logprobs"]) for row in rows)


def test_rewards_advantages_and_text_belong_to_their_completion(lab, tmp_path):
    made = trained(lab, tmp_path / "d", max_steps=8)
    rows = rows_of(tmp_path / "d")
    problems = {p.prompt: p for p in lab.task.problems(64, split="train", seed=0)}
    assert [row["step"] for row in rows] == [0] * 32 + [1] * 32
    for step in (0, 1):
        by_sample = sorted((row for row in rows if row["step"] == step), key=lambda row: row["sample"])
        assert len({row["prompt"] for row in by_sample}) == 8
        for row in by_sample:
            text = made.processing_class.decode(row["tokens"], skip_special_tokens=True)
            assert row["reward"] == lab.task.score(problems[row["prompt"]], text)
            assert "".join(row["text"]).removesuffix(made.processing_class.eos_token) == text
            assert row["mask"] == [True] * len(row["tokens"])
        want = reference.group_advantages([row["reward"] for row in by_sample], 4, "group")
        assert [row["advantages"] for row in by_sample] == [
            pytest.approx([a] * len(row["tokens"]), abs=1e-5) for a, row in zip(want, by_sample, strict=True)
        ]
        assert step or any(want)
    assert dump.notes(tmp_path / "d") == {
        "loss_type": "dapo",
        "importance_sampling_level": "token",
        "temperature": 1.0,
        "ranks": 1,
    }


@pytest.mark.parametrize("strategy", ["grpo", "clip-lower", "thermostat", "did", None])
def test_the_metrics_of_the_run_come_out_of_its_dump(lab, tmp_path, strategy):
    made = trained(lab, tmp_path / "d", max_steps=8, strategy=strategy)
    rows = rows_of(tmp_path / "d")
    lines = logged(made)
    for step, line in enumerate(lines):
        tokens = tokens_of(row for row in rows if row["step"] == step)
        assert_metrics(tokens, line)
        mean = math.fsum(t["old_entropy"] for t in tokens) / len(tokens)
        assert line["entrostat/entropy"] == pytest.approx(mean, rel=1e-6)
    assert any(line["entrostat/clip_low"] > 0 or line["entrostat/clip_high"] > 0 for line in lines)


def test_with_several_passes_a_token_is_there_once_in_each(lab, tmp_path):
    weights = Weights()
    made = trained(lab, tmp_path / "d", max_steps=8, num_iterations=2, callbacks=[weights])
    rows = rows_of(tmp_path / "d")
    assert {row["step"] for row in rows} == {0}
    for i, row in enumerate(rows):
        assert row["update"] == i // 8
        assert row["logprobs"] == close(outside(made, row, weights.before[row["update"]])[0])
    first, second = ({row["sample"]: row["tokens"] for row in half} for half in (rows[:32], rows[32:]))
    assert first == second and len(first) == 32
    # TRL logs once in 4 updates: half a rollout
    for half, line in zip((rows[:32], rows[32:]), logged(made), strict=True):
        assert_metrics(tokens_of(half), line)


def test_micro_batches_of_one_update_share_its_number(lab, tmp_path):
    made = trained(lab, tmp_path / "d", per_device_train_batch_size=4, steps_per_generation=8, max_steps=4, **TWO)
    rows = rows_of(tmp_path / "d")
    assert [(row["step"], row["update"]) for row in rows] == [(0, i // 8) for i in range(32)]
    assert_metrics(tokens_of(rows), logged(made)[-1])


TWO = {"gradient_accumulation_steps": 2, "logging_steps": 4}


def test_with_one_update_a_rollout_every_ratio_is_one(lab, tmp_path):
    changes = {"per_device_train_batch_size": 32, "steps_per_generation": 1, "logging_steps": 1, "max_steps": 2}
    made = trained(lab, tmp_path / "d", strategy="thermostat", **changes)
    rows = rows_of(tmp_path / "d")
    assert [row["step"] for row in rows] == [0] * 32 + [1] * 32
    assert all(row["logprobs"] == row["old_logprobs"] and row["update"] == 0 for row in rows)
    assert_metrics(tokens_of(rows[32:]), logged(made)[1])


def test_a_clip_that_is_not_the_tokens_own_is_in_clipped(lab, tmp_path):
    narrow = {"importance_sampling_level": "sequence", "epsilon": 0.003, "epsilon_high": 0.004, "loss_type": "grpo"}
    made = trained(lab, tmp_path / "d", strategy=None, max_steps=8, **narrow)
    rows, lines = rows_of(tmp_path / "d"), logged(made)
    for step, line in enumerate(lines):
        sides = Counter(t["clipped"] for t in tokens_of(row for row in rows if row["step"] == step))
        for row in rows:
            logratio = [a - b for a, b in zip(row["logprobs"], row["old_logprobs"], strict=True)]
            mean = math.fsum(logratio) / len(logratio)
            event = reference.clip_event(mean, row["advantages"][0], 0.003, 0.004)
            assert row["clipped"] == [SIDE[event]] * len(logratio)
        assert line["entrostat/clip_low"] == pytest.approx(sides[-1] / sides.total())
        assert line["entrostat/clip_high"] == pytest.approx(sides[1] / sides.total())
        assert sides[-1] or sides[1]
    assert dump.notes(tmp_path / "d")["importance_sampling_level"] == "sequence"


class Gradients(EntropyControlGRPOTrainer):
    """Keeps the gradient that each pass of training gives to the log-probability of each token."""

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if found[0].requires_grad:
            found[0].retain_grad()
            self.passes = [*getattr(self, "passes", []), found[0]]
        return found


def assert_clipped_are_those_without_gradient(made, rows):
    """By autograd through TRL's own loss. Returns how many tokens there are of each (side, sign of A)."""
    gradients = [row for each in made.passes for row in each.grad]
    count = Counter()
    for row, gradient in zip(rows, gradients, strict=True):
        for at, a in enumerate(row["advantages"]):
            if a:
                assert (row["clipped"][at] != 0) == (gradient[at] == 0)
                count[row["clipped"][at], a > 0] += 1
    return count


@pytest.mark.parametrize(("loss", "high"), [("sapo", 0.2), ("cispo", 1.01), ("vespo", 0.2)])
def test_a_loss_without_a_window_has_no_bounds(lab, tmp_path, loss, high):
    made = trained(lab, tmp_path / "d", kind=Gradients, strategy=None, loss_type=loss, epsilon_high=high)
    rows = rows_of(tmp_path / "d")
    assert not {"low", "high"} & set(rows[0])
    assert {t["clipped"] for t in tokens_of(rows)} == {0}
    assert assert_clipped_are_those_without_gradient(made, rows).total() > 100
    assert (logged(made)[0]["entrostat/clip_high"] > 0) == (loss == "cispo")  # tokens whose weight is capped


@pytest.mark.parametrize(
    ("level", "width", "delta"),
    [("token", 0.03, 1.01), ("token", 0.03, 1.06), ("sequence", 0.003, 1.001), ("sequence", 0.003, 1.004)],
)
def test_what_delta_takes_is_clipped(lab, tmp_path, level, width, delta):
    """Under the window's cap, where A > 0 meets it first, and over it, where A < 0 does."""
    run = {"delta": delta, "importance_sampling_level": level, "epsilon": width, "epsilon_high": width}
    made = trained(lab, tmp_path / "d", kind=Gradients, strategy=None, max_steps=8, **run)
    rows = rows_of(tmp_path / "d")
    count = assert_clipped_are_those_without_gradient(made, rows)
    assert count[-1, False] and count[1, False] and count[0, False] and count[0, True]
    if level == "token":
        assert count[1, True]
        for t in tokens_of(rows):
            event = reference.clip_event(t["logprobs"] - t["old_logprobs"], t["advantages"], t["low"], t["high"])
            assert t["advantages"] < 0 or t["clipped"] == SIDE[event]


def test_options_that_weigh_tokens_are_noted(lab, tmp_path):
    made = trained(lab, tmp_path / "d", kind=Gradients, strategy=None, top_entropy_quantile=0.5)
    noted = dump.notes(tmp_path / "d")
    assert noted["weighed_by"] == ["top_entropy_quantile"] and "objective" not in noted
    zero = sum(int((row == 0).sum()) for each in made.passes for row in each.grad)
    assert zero > sum(t["clipped"] != 0 or not t["advantages"] for t in tokens_of(rows_of(tmp_path / "d")))
    vllm = {"use_vllm": True, "vllm_mode": "server"}
    assert weighed_by(lab.config(**vllm)) == ["vllm_importance_sampling_mode"]
    assert weighed_by(lab.config(**vllm, vllm_importance_sampling_correction=False)) == []
    assert weighed_by(lab.config(off_policy_mask_threshold=0.5)) == ["off_policy_mask_threshold"]


def test_an_objective_in_place_of_the_window_is_noted(lab, tmp_path):
    trained(lab, tmp_path / "d", strategy=None, objective=CeGppo())
    assert dump.notes(tmp_path / "d")["objective"] == "ce-gppo"


class Halves(EntropyControlGRPOTrainer):
    """Advantages per token, the end of a completion untrained, one completion not at all."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        mask = output["completion_mask"]
        t = torch.arange(mask.size(1))
        output["advantages"] = output["advantages"][:, None] * (1.0 + t) + 0.1
        output["tool_mask"] = ((t % 3 != 1) & (t < 4)).long().expand_as(mask).clone()
        output["completion_mask"] = mask * (torch.arange(len(mask)) != 5)[:, None]
        return output


def test_advantages_per_token_and_tokens_that_are_not_trained_on(lab, tmp_path):
    made = trained(lab, tmp_path / "d", kind=Halves)
    rows = rows_of(tmp_path / "d")
    assert [row["tokens"] for row in rows if row["sample"] == 5] == [[]]
    for row in rows:
        want = [True, False, True, True][: len(row["mask"])]
        assert row["mask"] == want
        for name in ("logprobs", "entropy", "sum_p2", "advantages", "low"):
            assert [math.isnan(x) for x in row[name]] == [not kept for kept in want]
    full = next(row for row in rows if len(row["mask"]) == 4 and row["reward"])
    step = full["advantages"][0] - 0.1
    assert full["advantages"][2:] == pytest.approx([0.1 + 3 * step, 0.1 + 4 * step], rel=1e-5)
    assert_metrics(tokens_of(rows), logged(made)[0])


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_dump_moves_nothing_and_has_all_sums_whatever_the_share(lab, tmp_path, share):
    dumped = trained(lab, tmp_path / "d", max_steps=8, every=2, share=share)
    plain = trained(lab, tmp_path / "d", max_steps=8, every=0, share=share)
    assert logged(dumped) == logged(plain)
    ours, theirs = lab.parameters(dumped), lab.parameters(plain)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["step-000000.parquet"]
    assert all(math.isfinite(t["sum_p2"]) for t in tokens_of(rows_of(tmp_path / "d")))


def test_a_completion_that_nothing_scored_has_no_reward(lab, tmp_path):
    def every_third(completions, **_):
        return [None if i % 3 == 0 else float(i) for i in range(len(completions))]

    trained(lab, tmp_path / "d", reward=every_third)
    for row in rows_of(tmp_path / "d"):
        assert row["reward"] == (None if row["sample"] % 3 == 0 else row["sample"])


def test_training_that_resumes_makes_its_rollouts_again_and_keeps_the_others(lab, tmp_path):
    saving = {"max_steps": 12, "save_strategy": "steps", "save_steps": 4}
    made = trained(lab, tmp_path / "d", **saving)
    whole = rows_of(tmp_path / "d")
    assert {row["step"] for row in whole} == {0, 1, 2}
    lost = tmp_path / "d" / "step-000002.parquet"
    (tmp_path / "d" / ".step-000002.parquet.part").write_bytes(b"PAR1")
    lost.rename(tmp_path / "d" / "step-000007.parquet")  # of a future that this run will not have
    trained(lab, tmp_path / "d", resume=f"{made.args.output_dir}/checkpoint-8", **saving)
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == [f"step-00000{i}.parquet" for i in range(3)]
    again = rows_of(tmp_path / "d")
    assert [row["step"] for row in again] == [0] * 32 + [1] * 32 + [2] * 32
    assert again[:64] == whole[:64]


def test_training_afresh_refuses_a_folder_with_dumps(lab, tmp_path):
    trained(lab, tmp_path / "d")
    before = (tmp_path / "d" / "step-000000.parquet").read_bytes()
    with pytest.raises(ValueError, match=r"holds dumps of another run: choose another folder"):
        trained(lab, tmp_path / "d")
    assert (tmp_path / "d" / "step-000000.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dump_every": -1, "dump_dir": "d"}, "dump_every must be a whole number of rollouts, .*, got -1$"),
        ({"dump_every": 2}, "dump_every=2 needs a folder: give dump_dir"),
    ],
)
def test_options_that_mean_nothing_are_refused(lab, options, message):
    with pytest.raises(ValueError, match=message):
        lab.trainer(strategy="grpo", **options)


def test_dump_every_is_a_whole_number():
    # the check itself: the tests' own check of types is before that of the trainer
    with pytest.raises(ValueError, match=r"^dump_every must be a whole number of rollouts, .*, got 1\.5$"):
        check_dumping(1.5, "d")
