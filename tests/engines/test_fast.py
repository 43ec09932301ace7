"""The fast engine against Hugging Face's logits, TRL's updates, and itself in another arrangement."""

import json
import math

import pytest
import torch
from tests.tiny_models import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from entrostat import ClipBounds, TokenStats, make_strategy, token_stats
from entrostat.engines import fast, qwen2
from entrostat.engines.rollout import Rollout
from entrostat.engines.trl import EntropyControlGRPOTrainer
from entrostat.lab.rewards import make_reward
from entrostat.lab.tasks import make_task
from entrostat.objectives.covariance import KlCov

TASK = make_task("countdown")


class Recorded(EntropyControlGRPOTrainer):
    """Keeps what TRL hands to its loss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.micro_batches, self.states = [], []

    def _compute_loss(self, model, inputs):
        self.states.append(self.controller_state)
        self.micro_batches.append({k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)})
        return super()._compute_loss(model, inputs)


class Summed(EntropyControlGRPOTrainer):
    """Keeps what TRL's engine tells the strategy of each rollout."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.summaries = []

    def _summary(self, old, output):
        found = super()._summary(old, output)
        self.summaries.append((found, {k: v for k, v in output.items() if isinstance(v, torch.Tensor)}))
        return found


def as_rollout(batches):
    """TRL's micro-batches as one rollout of the fast engine, its advantages, and the rows of each update."""
    whole = {key: torch.cat([b[key] for b in batches])[None] for key in batches[0] if batches[0][key].ndim}
    mask = whole["completion_mask"].bool()
    old = [whole.get(f"entrostat_old_{name}") for name in ("entropy", "sum_p2", "sum_p2_logp")]
    old = TokenStats(whole["old_per_token_logps"], *old)
    rollout = Rollout(whole["prompt_ids"], whole["prompt_mask"].bool(), whole["completion_ids"], mask, old)
    rows = torch.arange(mask.shape[1])[None].chunk(len(batches), dim=1)
    return rollout, whole["advantages"], rows


def encoded(problems):
    tokenizer = AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left")
    found = tokenizer([p.prompt for p in problems], return_tensors="pt", padding=True)
    return found["input_ids"][None], found["attention_mask"].bool()[None]


def drawn(model, prompts=8, samples=4, seed=0, **options):
    ids, mask = (x.expand(model.runs, -1, -1) for x in encoded(TASK.problems(prompts, split="train", seed=1)))
    generators = [torch.Generator().manual_seed(seed + run) for run in range(model.runs)]
    return fast.sample(model, ids, mask, samples=samples, most=TASK.max_completion, generators=generators, **options)


def window(low, high):
    return ClipBounds(torch.tensor(low), torch.tensor(high))


METHODS = {
    "grpo": {},
    "clip-lower": {"low": 0.05},
    "id": {},
    "dcpo": {},
    "dppo": {"low": 0.05, "high": 0.05},
    "thermostat": {"target": "1.3x"},
    "thermostat, bracket": {"target": "1.3x", "tilt": "bracket"},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_rollouts_updates_are_the_trl_engines(lab, name):
    strategy = make_strategy(name.split(",")[0], **METHODS[name])
    # small enough that AdamW does not blow a gradient of rounding errors up to 1e-5
    args = lab.config(max_steps=8, learning_rate=1e-4, loss_type="dapo")
    trainer = lab.trainer(Recorded, args=args, strategy=strategy, reward=make_reward("bernoulli:0.5", TASK, 0))
    trainer.train()
    model = qwen2.load_model(TASK.base_model)
    adam = fast.optimizer(model, 1e-4)
    clipped = 0.0
    for start in (0, 4):  # two rollouts, so that controllers have something to say and moments are carried over
        rollout, advantages, rows = as_rollout(trainer.micro_batches[start : start + 4])
        state = trainer.states[start]
        bounds = strategy.bounds(state, TokenStats(*(None if x is None else x[0] for x in rollout.old)))
        passed = fast.update(model, adam, rollout, advantages, ClipBounds(*(b[None] for b in bounds)), rows)
        clipped += float(passed.clip_low + passed.clip_high)
    assert clipped > 0, "nothing was clipped: this compared two losses without a clip"
    for key, value in lab.parameters(trainer).items():
        assert torch.allclose(model.weights[key][0], value, rtol=0, atol=1e-5), key


def test_a_rollouts_summary_is_the_trl_engines(lab):
    """Everything that a controller is told, by the numbers that TRL's engine logs and keeps of the same rollout."""
    strategy = make_strategy("thermostat", tilt="bracket")
    trainer = lab.trainer(Summed, args=lab.config(max_steps=4, loss_type="dapo"), strategy=strategy)
    trainer.train()
    ((theirs, output),) = trainer.summaries
    rollout, advantages, _ = as_rollout([output])
    known = {"progress": 0.0, "updates": 4, "ceiling": math.log(21)}
    mine = fast.summary(rollout, advantages, run=0, group=4, **known)
    for field, value in theirs._asdict().items():
        found = getattr(mine, field)
        assert field == "excess_surprisal" or found == value or found == pytest.approx(value, rel=1e-5), field


def test_a_pass_s_sums_are_those_of_the_mini_batches_that_it_shows():
    """By hand, from each update's log-ratios, advantages and window."""
    model = qwen2.load_model(TASK.base_model, runs=2)
    rollout = drawn(model, seed=3)
    gains = torch.randn(2, rollout.mask.shape[1], generator=torch.Generator().manual_seed(0))
    rows = fast.mini_batches(rollout, 4, [torch.Generator().manual_seed(run) for run in range(2)])
    seen: list[fast.Seen] = []
    passed = fast.update(model, fast.optimizer(model, 3e-4), rollout, gains, window(0.02, 0.03), rows, see=seen.append)
    assert [list(one.chosen.mask.shape[:2]) for one in seen] == [[2, 8]] * 4
    for run in range(2):
        sums = dict.fromkeys(
            ("tokens", "clip_low", "clip_high", "square", "clip_high_p", "positive", "positive_p"), 0.0
        )
        for one in seen:
            for at in one.chosen.mask[run].nonzero().tolist():
                ratio, gain = (float(x[run][tuple(at)]) for x in (one.logratio, one.advantages))
                p = math.exp(float(one.chosen.old.logprobs[run][tuple(at)]))
                high, positive = math.exp(ratio) > 1.03 and gain > 0, gain > 0
                sums["tokens"] += 1
                sums["clip_low"] += math.exp(ratio) < 0.98 and gain < 0
                sums["clip_high"] += high
                sums["square"] += ratio**2
                sums["clip_high_p"] += p * high
                sums["positive"] += positive
                sums["positive_p"] += p * positive
        assert 0 < sums["clip_high"] < sums["positive"]
        for name, value in sums.items():
            assert float(getattr(passed, name)[run]) == pytest.approx(value, rel=1e-4), name


def test_logits_are_hugging_faces(tmp_path):
    """Qwen2 and Llama, with grouped queries, tied and untied heads, and padding on the left."""
    for kind in ("qwen2", "llama"):
        folder = tiny_model(tmp_path / kind, kind)
        theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = qwen2.load_model(folder, runs=2)
        ids = torch.randint(5, 300, (2, 3, 9))
        prompt_mask = torch.ones(2, 3, 6, dtype=torch.bool)
        prompt_mask[:, 1, :2] = False
        mask = torch.ones(2, 3, 3, dtype=torch.bool)
        rollout = Rollout(ids[..., :6], prompt_mask, ids[..., 6:], mask, TokenStats(torch.zeros(2, 3, 3)))
        mine = fast.logits_on(model, rollout)
        for run in range(2):
            attention = torch.cat([prompt_mask[run], mask[run]], dim=-1).long()
            with torch.no_grad():
                wanted = theirs(input_ids=ids[run], attention_mask=attention).logits[:, 5:-1]
            assert torch.allclose(mine[run], wanted, rtol=1e-5, atol=1e-5), kind


def test_statistics_are_those_of_token_stats():
    logits, ids = torch.randn(2, 5, 21) * 3, torch.randint(0, 21, (2, 5))
    for mine, wanted in zip(fast.statistics(logits, ids), token_stats(logits, ids), strict=True):
        assert torch.allclose(mine, wanted, rtol=1e-5, atol=1e-6)


def test_the_sampler_notes_the_policy_that_it_draws_from():
    model = qwen2.load_model(TASK.base_model)
    rollout = drawn(model, temperature=0.7)
    with torch.no_grad():
        stats = fast.statistics(fast.logits_on(model, rollout) / 0.7, rollout.completions)
    for noted, again in zip(rollout.old, stats, strict=True):
        assert torch.allclose(noted, torch.where(rollout.mask, again, 0.0), rtol=1e-4, atol=1e-4)
    ended = rollout.completions == 1
    assert torch.equal(rollout.mask, (ended.cumsum(-1) - ended.long()) == 0)
    assert (rollout.completions[~rollout.mask] == model.shape.pad).all()


def test_tokens_are_drawn_by_their_probability():
    logits = torch.tensor([0.5, 0.3, 0.2, 0.0]).log().expand(1, 40_000, 4)
    found = fast._drawn(logits, [torch.Generator().manual_seed(0)])[0].bincount(minlength=4) / 40_000
    assert found.tolist() == pytest.approx([0.5, 0.3, 0.2, 0.0], abs=0.01)
    assert found[3] == 0


def test_a_run_does_not_depend_on_its_neighbours():
    """Three runs at once are the three runs alone: samples, updates and counts."""
    together = qwen2.load_model(TASK.base_model, runs=3)
    adam = fast.optimizer(together, 1e-3)
    objective = KlCov(ratio=0.1)
    pairs = [None, (objective, objective.init()), None]
    rollout = drawn(together)
    gains = torch.randn(3, 32, generator=torch.Generator().manual_seed(5))
    low, high = torch.tensor([0.2, 0.1, 0.01]).view(3, 1, 1), torch.tensor([0.2, 0.1, math.inf]).view(3, 1, 1)
    rows = fast.mini_batches(rollout, 4, [torch.Generator().manual_seed(9 + run) for run in range(3)])
    passed = fast.update(together, adam, rollout, gains, ClipBounds(low, high), rows, objectives=pairs)
    for run in range(3):
        alone = qwen2.load_model(TASK.base_model)
        own = drawn(alone, seed=run)
        width = own.completions.shape[-1]
        assert torch.equal(own.completions[0], rollout.completions[run, :, :width])
        mine = fast.mini_batches(own, 4, [torch.Generator().manual_seed(9 + run)])
        bounds = ClipBounds(low[run : run + 1], high[run : run + 1])
        one = fast.optimizer(alone, 1e-3)
        found = fast.update(alone, one, own, gains[run : run + 1], bounds, mine, objectives=pairs[run : run + 1])
        for field, value in found._asdict().items():
            assert float(value) == pytest.approx(float(getattr(passed, field)[run]), rel=1e-3), field
        for key, value in alone.weights.items():
            assert torch.allclose(value[0], together.weights[key][run], rtol=0, atol=3e-4), key


def test_spread_puts_all_runs_at_one_point():
    """After it, equal settings give equal weights, and they are those of a run that went on alone."""
    ends = []
    for runs in (1, 3):
        model = qwen2.load_model(TASK.base_model, runs=runs)
        adam = fast.optimizer(model, 1e-3)
        rollout = drawn(model)
        gains = torch.randn(1, 32, generator=torch.Generator().manual_seed(3)).expand(runs, -1).clone()
        gains[1:] *= -1  # the others go elsewhere, and come back
        rows = [part.expand(runs, -1) for part in torch.arange(32)[None].chunk(4, dim=1)]
        fast.update(model, adam, rollout, gains, window(0.2, 0.2), rows)
        fast.spread(model, adam, 0)
        same = Rollout(
            *(x[:1].expand_as(x) for x in rollout[:4]), TokenStats(*(x[:1].expand_as(x) for x in rollout.old))
        )
        fast.update(model, adam, same, gains[:1].expand(runs, -1), window(0.1, 0.3), rows)
        ends.append(model.weights)
    for key, value in ends[1].items():
        assert torch.allclose(value[1], value[0], rtol=0, atol=1e-6), key
        assert torch.allclose(value[0], ends[0][key][0], rtol=0, atol=3e-4), key


def test_a_pace_stretches_a_runs_steps():
    ends = []
    for pace, rate in ((1.0, 2e-3), (2.0, 1e-3)):
        model = qwen2.load_model(TASK.base_model)
        rows = torch.arange(32)[None].chunk(1, dim=1)
        gains = torch.randn(1, 32, generator=torch.Generator().manual_seed(3))
        adam = fast.optimizer(model, rate)
        fast.update(model, adam, drawn(model), gains, window(0.2, 0.2), rows, paces=torch.tensor([pace]))
        ends.append(model.weights)
    assert all(torch.allclose(ends[0][k], ends[1][k], rtol=0, atol=1e-6) for k in ends[0])


def test_masked_tokens_never_matter():
    ends = []
    for filler in (0.0, math.nan):
        model = qwen2.load_model(TASK.base_model)
        rollout = drawn(model)
        old = TokenStats(*(torch.where(rollout.mask, x, filler) for x in rollout.old))
        gains = torch.randn(1, 32, generator=torch.Generator().manual_seed(2))
        rows = torch.arange(32)[None].chunk(2, dim=1)
        fast.update(model, fast.optimizer(model, 1e-3), rollout._replace(old=old), gains, window(0.2, 0.2), rows)
        ends.append(model.weights)
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0])


def test_a_saved_model_is_read_again(tmp_path):
    model = qwen2.load_model(TASK.base_model, runs=2)
    with torch.no_grad():
        model.weights["model.norm.weight"][1] += 1
    qwen2.save_model(model, 1, tmp_path)
    (tmp_path / "config.json").write_text((TASK.base_model / "config.json").read_text())
    again = qwen2.load_model(tmp_path)
    assert all(torch.equal(again.weights[k][0], v[1]) for k, v in model.weights.items())


def test_what_it_cannot_read_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        qwen2.load_model(tmp_path)
    folder = tiny_model(tmp_path / "qwen3", "qwen3")
    with pytest.raises(ValueError, match="qwen3"):
        qwen2.load_model(folder)
    config = json.loads((TASK.base_model / "config.json").read_text())
    config["rope_parameters"]["rope_type"] = "yarn"
    qwen2.save_model(qwen2.load_model(TASK.base_model), 0, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="rope scaling"):
        qwen2.load_model(tmp_path)
