"""TRL's AsyncGRPOTrainer under a strategy: its own loss under constant bounds, the trainer's numbers and not the
sampler's in the bounds, one observation an update, ages, mismatch, and checkpoints."""

import dataclasses
import json
import math
from typing import NamedTuple

import pytest
import torch
from tiny_async import PROMPTS, SAMPLES, AsyncGRPOTrainer, Worker, config, drawn, make
from tiny_trl import base_model, logged
from transformers import TrainerCallback

from entrostat import ClipBounds, make_strategy
from entrostat.engines.checkpoint import STATE_FILE
from entrostat.engines.trl_async import AsyncEntropyControlMixin, EntropyControlAsyncGRPOTrainer
from entrostat.strategies import Reads, Strategy

BATCH = PROMPTS * SAMPLES
# of a run's log: what a clock measured
TIMED = ("perf/", "train_runtime", "train_samples_per_second", "train_steps_per_second", "sample/time")


def trained(kind, folder, *, worker=None, **changes):
    options = {key: changes.pop(key) for key in ("strategy",) if key in changes}
    made = make(kind, config(folder, **changes), worker=worker, **options)
    made.train()
    return made


def parameters(made):
    return [p.detach().clone() for p in made.model.parameters()]


def history(made):
    return [
        {k: v for k, v in line.items() if not k.startswith(("entrostat/", *TIMED))} for line in made.state.log_history
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"epsilon": 0.05, "epsilon_high": 0.28, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 16},
        {"token_budget": 120, "gradient_accumulation_steps": 2},
        {"epsilon": 1.0, "epsilon_high": math.inf},
    ],
    ids=["one", "accumulated", "budget", "open"],
)
def test_constant_bounds_are_the_stock_trainer_bit_for_bit(tmp_path, changes):
    changes = {"learning_rate": 1e-4, "max_steps": 4, **changes}
    low = changes.get("epsilon", 0.2)
    high = changes.get("epsilon_high", low)
    stock = trained(AsyncGRPOTrainer, tmp_path, worker=Worker(noise=0.2), **changes)
    strategy = make_strategy("grpo", low=low, high=high)
    mine = trained(EntropyControlAsyncGRPOTrainer, tmp_path, worker=Worker(noise=0.2), strategy=strategy, **changes)
    clipped = [line["clip_ratio/region_mean"] for line in history(stock) if "loss" in line]
    assert low == 1.0 or min(clipped) > 0.05, "nothing was clipped"
    assert all(torch.equal(a, b) for a, b in zip(parameters(mine), parameters(stock), strict=True))
    assert history(mine) == history(stock)
    for ours, theirs in zip(logged(mine, "entrostat/clip"), logged(stock, "clip_ratio"), strict=True):
        # theirs is a mean over micro-batches of other sizes
        assert ours["entrostat/clip_low"] == pytest.approx(theirs["clip_ratio/low_mean"], abs=0.02)
        assert ours["entrostat/clip_high"] == pytest.approx(theirs["clip_ratio/high_mean"], abs=0.02)


class Seen(NamedTuple):
    updates: int = 0


@dataclasses.dataclass(frozen=True)
class Watching(Strategy):
    """Bounds of the current probability; keeps what it is told."""

    told: list = dataclasses.field(default_factory=list)
    asked: list = dataclasses.field(default_factory=list)

    @property
    def reads(self):
        return Reads.TOKEN_ENTROPY

    @property
    def per_token(self):
        return True

    def init(self):
        return Seen()

    def observe(self, state, summary):
        self.told.append(summary)
        return Seen(state.updates + 1)

    def bounds(self, state, old):
        self.asked.append(old)
        p = old.logprobs.exp()
        return ClipBounds(0.05 + 0.1 * p, 0.1 + 0.2 * (1 - p))


class Recorded(EntropyControlAsyncGRPOTrainer):
    """Keeps each micro-batch's loss, and TRL's own mean entropy of it with the number of tokens."""

    passes: list

    def compute_loss(self, model, inputs, *args, **kwargs):
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        entropy = self._metrics["train"]["entropy"][-1]
        self.passes.append((self.state.global_step, float(loss.detach()), entropy, int(inputs["global_n_tokens"][0])))
        return loss


def recorded(folder, *, worker=None, strategy=None, **changes):
    made = make(Recorded, config(folder, **changes), worker=worker, strategy=strategy)
    made.passes = []
    made.train()
    return made


def entropies():
    """The base model's entropy at each drawn token, from a plain pass over each completion."""
    model = base_model().eval()
    found = []
    for prompt, completion, _, _ in drawn():
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        p = logits.double().softmax(-1)
        found += (-(p * p.log()).sum(-1)).tolist()
    return found


def test_bounds_are_taken_from_the_trainer_and_not_from_the_sampler(tmp_path):
    strategy, worker = Watching(), Worker(noise=0.3)
    made = recorded(tmp_path, worker=worker, strategy=strategy, max_steps=1)
    (old,) = strategy.asked
    own = [logprob for _, _, logprobs, _ in drawn() for logprob in logprobs]
    # TRL's row has its samples in an order of its own
    assert sorted(old.logprobs[0].tolist()) == pytest.approx(sorted(own), abs=1e-4)
    assert sorted(old.entropy[0].tolist()) == pytest.approx(sorted(entropies()), abs=1e-4)
    assert not old.logprobs.requires_grad and not old.entropy.requires_grad
    # and the loss is the clipped one to the sampler's log-probabilities under those bounds
    total = 0.0
    for (_, completion, logprobs, _), sample in zip(drawn(), worker.given, strict=False):
        for logprob, sampler in zip(logprobs, sample.old_log_probs[-len(completion) :].tolist(), strict=True):
            p, ratio = math.exp(logprob), math.exp(logprob - sampler)
            capped = min(max(ratio, 1 - (0.05 + 0.1 * p)), 1 + 0.1 + 0.2 * (1 - p))
            total -= min(ratio * sample.advantage, capped * sample.advantage)
    ((_, loss, _, tokens),) = made.passes
    assert loss == pytest.approx(total / tokens, rel=1e-4)


def test_one_observation_an_update_of_each_token_once(tmp_path):
    """Before each update: the micro-batches that the last one had left, and this one's first."""
    strategy = Watching()
    made = recorded(
        tmp_path,
        strategy=strategy,
        max_steps=4,
        gradient_accumulation_steps=3,
        per_device_train_batch_size=8,
        learning_rate=1e-4,
    )
    assert made.controller_state == Seen(4) and len(strategy.told) == 4
    by_update = [[each for each in made.passes if each[0] == update] for update in range(4)]
    for update, summary in enumerate(strategy.told):
        left = [] if update == 0 else by_update[update - 1][1:]
        parts = [*left, by_update[update][0]]
        tokens = sum(part[3] for part in parts)
        assert summary.entropy == pytest.approx(sum(part[2] * part[3] for part in parts) / tokens, rel=1e-5)
        fresh = by_update[update][0][3] / tokens
        assert summary.ages == pytest.approx((fresh, 1 - fresh) if left else (1.0,))
        assert summary.progress == update / 4 and summary.updates == 1
        assert summary.ceiling == pytest.approx(math.log(made.model.config.vocab_size))
        assert summary.entropy_error > 0 and summary.excess_surprisal > 0 and summary.active == 1.0
    lines = logged(made, "entrostat/entropy")
    assert [line["entrostat/entropy"] for line in lines] == [summary.entropy for summary in strategy.told]


def test_the_standard_error_is_that_of_prompts(tmp_path):
    strategy, worker = Watching(), Worker()
    recorded(tmp_path, worker=worker, strategy=strategy, max_steps=1)
    entropy, tokens, at = [0.0] * PROMPTS, [0] * PROMPTS, 0
    every = entropies()
    for _, completion, _, group in drawn():
        entropy[group] += sum(every[at : at + len(completion)])
        tokens[group] += len(completion)
        at += len(completion)
    mean = sum(entropy) / sum(tokens)
    residuals = sum((h - mean * n) ** 2 for h, n in zip(entropy, tokens, strict=True))
    want = math.sqrt(PROMPTS / (PROMPTS - 1) * residuals) / sum(tokens)
    assert strategy.told[0].entropy_error == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(("sync", "lags"), [(1, (0,)), (1, (0, 2, 1)), (3, (0, 1))])
def test_ages_are_updates_since_the_weights_that_sampled(tmp_path, sync, lags):
    worker = Worker(lags=lags)
    made = trained(
        EntropyControlAsyncGRPOTrainer, tmp_path, worker=worker, strategy=None, weight_sync_steps=sync, max_steps=6
    )
    for update, line in enumerate(logged(made, "entrostat/")):
        age = tokens = 0
        for sample in worker.given[update * BATCH : (update + 1) * BATCH]:
            trained_on = int(sample.completion_mask.sum())
            age += trained_on * (update - sync * (sample.model_version - 1))
            tokens += trained_on
        assert line["entrostat/staleness"] == pytest.approx(age / tokens)
    # the loader fetches a batch ahead: after the first update no token is fresh
    assert logged(made, "entrostat/staleness")[-1]["entrostat/staleness"] >= 1


def test_mismatch_is_that_of_tokens_of_the_weights_at_hand(tmp_path):
    worker = Worker(noise=0.1)
    made = trained(EntropyControlAsyncGRPOTrainer, tmp_path, worker=worker, strategy="grpo", learning_rate=1e-4)
    first, *later = logged(made, "entrostat/mismatch", "entrostat/logratio")
    gaps, clipped = [], 0
    for (_, completion, logprobs, _), sample in zip(drawn(), worker.given, strict=False):
        ours = [p - q for p, q in zip(logprobs, sample.old_log_probs[-len(completion) :].tolist(), strict=True)]
        gaps += ours
        clipped += sum(x < math.log(0.8) if sample.advantage < 0 else x > math.log(1.2) for x in ours)
    size = sum(map(abs, gaps)) / len(gaps)
    assert first["entrostat/mismatch"] == pytest.approx(size, rel=1e-3)
    assert first["entrostat/mismatch_rms"] == pytest.approx(math.sqrt(sum(x * x for x in gaps) / len(gaps)), rel=1e-3)
    assert first["entrostat/mismatch_bias"] == pytest.approx(sum(map(math.expm1, gaps)) / len(gaps), abs=1e-5)
    assert clipped and first["entrostat/mismatch_clipped"] == pytest.approx(clipped / len(gaps))
    assert first["entrostat/mismatch_share"] == pytest.approx(1.0)
    for line in later:
        assert "entrostat/mismatch" not in line
        assert line["entrostat/mismatch_share"] == pytest.approx(size / line["entrostat/logratio"], rel=1e-3)
    assert later[-1]["entrostat/mismatch_share"] < 0.9


def test_a_token_that_its_window_shuts_out_is_no_mismatch(tmp_path):
    """Without mismatch a thermostat that presses hard drops fresh tokens, and none of them for their ratio."""
    strategy = make_strategy("thermostat", target="5x", hold="both")
    made = trained(EntropyControlAsyncGRPOTrainer, tmp_path, strategy=strategy, max_steps=8, learning_rate=0.0)
    last = logged(made, "entrostat/")[-1]
    assert last["entrostat/pressure"] > 1 and last["entrostat/dropped"] > 0.05
    assert last["entrostat/clip_low"] + last["entrostat/clip_high"] == pytest.approx(last["entrostat/dropped"])
    first = logged(made, "entrostat/mismatch")[0]
    assert first["entrostat/mismatch"] < 1e-5 and first["entrostat/mismatch_clipped"] == 0


class Killed(TrainerCallback):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 5:
            raise KeyboardInterrupt


def test_a_killed_run_resumes_with_the_same_controller(tmp_path):
    """Also with what the last update's micro-batches have left for the next observation."""
    accumulated = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": BATCH // 2}
    changes = {"learning_rate": 1e-4, "max_steps": 8, **accumulated}
    strategy = make_strategy("thermostat", target="2x", hold="both")
    whole = make(EntropyControlAsyncGRPOTrainer, config(tmp_path / "whole", **changes), strategy=strategy)
    whole.train()
    saving = config(tmp_path / "out", save_strategy="steps", save_steps=4, **changes)
    killed = make(EntropyControlAsyncGRPOTrainer, saving, strategy=strategy, callbacks=[Killed()])
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    checkpoint = tmp_path / "out/checkpoint-4"
    saved = json.loads((checkpoint / STATE_FILE).read_text())["payload"]
    assert saved["strategy"]["name"] == "thermostat" and len(saved["measured"]) == 1
    resumed = make(EntropyControlAsyncGRPOTrainer, saving, worker=Worker(start=4 * BATCH), strategy=strategy)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.controller_state == whole.controller_state
    assert all(torch.equal(a, b) for a, b in zip(parameters(resumed), parameters(whole), strict=True))
    (checkpoint / STATE_FILE).unlink()
    again = make(EntropyControlAsyncGRPOTrainer, saving, strategy=strategy)
    with pytest.raises(ValueError, match="from a checkpoint of an EntropyControlAsyncGRPOTrainer"):
        again.train(resume_from_checkpoint=str(checkpoint))


def test_progress_is_that_of_prompts_where_they_end_the_run(tmp_path):
    """TRL's max_steps is then a ceiling far above."""
    strategy = Watching()
    made = recorded(
        tmp_path, strategy=strategy, max_steps=-1, num_train_epochs=3, per_device_train_batch_size=SAMPLES * 2
    )
    shares = [summary.progress for summary in strategy.told]
    assert made.args.max_steps > 10 * len(shares)
    # two prompts a batch of 24; one batch is fetched ahead
    assert shares == pytest.approx([min((2 * i + 2) / 24, 1) for i in range(len(shares))], abs=1e-5)
    assert max(shares) < 1


def test_what_needs_sums_over_the_vocabulary_is_refused_before_the_model_is_loaded():
    with pytest.raises(
        ValueError, match=r"sums over the vocabulary, which AsyncGRPOTrainer's passes .*tilt='surprisal'"
    ):
        EntropyControlAsyncGRPOTrainer(model="none", strategy=make_strategy("thermostat", tilt="bracket"))


def refusal(made):
    with pytest.raises(RuntimeError) as refused:
        made.train()
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (None, "the rollout worker gives a sample whose model_version is None: give it the version that"),
        (7, "a sample is of version 7 of the policy, and this run has published 1 to 1: give the worker's samples"),
    ],
)
def test_versions_that_say_nothing_stop_the_run(tmp_path, version, sentence):
    class Silent(Worker):
        def get(self, timeout=None):
            made = super().get()
            made.model_version = version
            return made

    assert refusal(make(EntropyControlAsyncGRPOTrainer, config(tmp_path), worker=Silent(), strategy=None)).startswith(
        sentence
    )


def test_a_trainer_around_it_that_takes_its_place_is_told(tmp_path):
    class Loader(EntropyControlAsyncGRPOTrainer):
        def get_train_dataloader(self):
            return AsyncGRPOTrainer.get_train_dataloader(self)

    class Loss(EntropyControlAsyncGRPOTrainer):
        def compute_loss(self, *args, **kwargs):
            return AsyncGRPOTrainer.compute_loss(self, *args, **kwargs)

    class Blind(AsyncGRPOTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            keys = ("input_ids", "position_ids", "shift_labels")
            tree = {key: inputs[key].flatten() for key in ("tree_kv_index", "tree_cu_seqlens_q", "tree_cu_seqlens_k")}
            longest = dict(
                zip(("tree_max_seqlen_q", "tree_max_seqlen_k"), inputs["tree_max_seqlens"][0].tolist(), strict=True)
            )
            output = model(**{key: inputs[key] for key in keys}, fused_lm_head=True, **tree, **longest)
            return -output.log_probs.mean()

    class Mine(AsyncEntropyControlMixin, Blind):
        pass

    for kind, sentence in (
        (Loader, "a batch of Loader does not say which version of the policy sampled its tokens: call super()"),
        (
            Loss,
            "Loss computes its loss above entropy control, which neither controls nor measures anything then: call ",
        ),
        (
            Mine,
            "Mine.compute_loss does not read self.epsilon_low or self.epsilon_high, so strategy 'grpo' controls nothi",
        ),
    ):
        assert refusal(make(kind, config(tmp_path), strategy="grpo")).startswith(sentence)
    made = make(Mine, config(tmp_path, max_steps=1), strategy=None)
    made.train()
    assert logged(made, "entrostat/entropy")
