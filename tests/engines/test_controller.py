"""The controller of a run: both parts observe, both states travel, and what an engine does not give is refused."""

import json

import pytest
import torch

from entrostat import RolloutSummary
from entrostat.engines.controller import Controller, check_reads
from entrostat.engines.overrides import check_overrides
from entrostat.objectives.entropic import Entropic
from entrostat.strategies import Reads, make_strategy
from own_strategy import Own, Silent

SUMMARY = RolloutSummary(progress=0.1, entropy=0.4, excess_surprisal=0.3)


def test_both_states_go_through_json():
    first = Controller(make_strategy("od"), Entropic())
    first.observe(SUMMARY)
    assert first.state.rollouts == first.objective_state.rollouts == 1
    second = Controller(make_strategy("od"), Entropic())
    second.load(json.loads(json.dumps(first.payload())), "state.json")
    assert (second.state, second.objective_state) == (first.state, first.objective_state)
    assert second.signals() == {"target": 0.1, "alpha": pytest.approx(0.3)}


def test_the_state_of_others_is_refused_and_nothing_is_taken():
    saved = Controller(make_strategy("od"), Entropic())
    saved.observe(SUMMARY)
    for other in (
        Controller(make_strategy("grpo"), Entropic()),
        Controller(make_strategy("od")),
        Controller(None, Entropic()),
    ):
        with pytest.raises(ValueError, match=r"state.json holds the state of .*: resume with '(od|entropic)'"):
            other.load(saved.payload(), "state.json")
    broken = {**saved.payload(), "objective_state": {}}
    mine = Controller(make_strategy("od"), Entropic())
    with pytest.raises(ValueError, match="the saved state is not one of Entropic"):
        mine.load(broken, "state.json")
    assert mine.state == make_strategy("od").init()


def test_without_parts_there_is_nothing_to_remember():
    idle = Controller(None)
    idle.observe(SUMMARY)
    assert idle.payload() == {"strategy": None, "state": {}}
    assert idle.signals() == {}
    assert idle.reads == Reads.LOGPROBS
    assert Controller(Own(needs=Reads.TOKEN_ENTROPY), Entropic()).reads == Reads.TOKEN_ENTROPY | Reads.MEAN_ENTROPY


@pytest.mark.parametrize(
    ("needs", "given", "missing"),
    [
        (Reads.LOGPROBS, Reads.LOGPROBS, None),
        (Reads.MEAN_ENTROPY, Reads.MEAN_ENTROPY, None),
        (Reads.TOKEN_ENTROPY, ~Reads.VOCABULARY_SUMS, None),
        (Reads.MEAN_ENTROPY | Reads.TOKEN_ENTROPY, Reads.MEAN_ENTROPY, "entropy at each token"),
        (Reads.VOCABULARY_SUMS, ~Reads.VOCABULARY_SUMS, "sums over the vocabulary"),
        (Reads.MEAN_ENTROPY, Reads.LOGPROBS, "the rollout's mean entropy"),
    ],
)
def test_a_strategy_of_ones_own_is_judged_by_what_it_reads(needs, given, missing):
    if missing is None:
        check_reads(Own(needs=needs), given, "which is not there")
        return
    with pytest.raises(ValueError, match=f"strategy 'Own' needs .*{missing}, which is not there"):
        check_reads(Own(needs=needs), given, "which is not there")


def test_a_method_that_the_trainer_no_longer_has_is_an_error_of_one_sentence():
    class Theirs:
        def save(self): ...

    class Ours(Theirs):
        def save(self): ...
        def load(self): ...

    check_overrides(Ours, Theirs, ["save"], "their 1.0")
    with pytest.raises(RuntimeError, match=r"Theirs has no load, which Ours overrides: install their 1\.0") as caught:
        check_overrides(Ours, Theirs, ["save", "load"], "their 1.0")
    assert "\n" not in str(caught.value)


class HalfKnown(Silent):
    """Bounds of NaN, under which TRL's loss would be 0 and train unclipped."""

    def bounds(self, state, old):
        return super().bounds(state, old)._replace(high=torch.full_like(old.logprobs, torch.nan))


def test_trls_trainer_looks_at_a_strategy_of_ones_own_at_its_first_use(lab):
    trainer = lab.trainer(args=lab.config(max_steps=4), strategy=HalfKnown())
    with pytest.raises(ValueError, match=r"HalfKnown.bounds\(\) gives a high of NaN for \d+ of \d+ tokens"):
        trainer.train()
    assert trainer.state.global_step == 0
    lab.trainer(args=lab.config(max_steps=4), strategy=Own()).train()


def test_tokens_that_are_too_old_are_told_once(caplog):
    controller = Controller(make_strategy("thermostat"))
    told = RolloutSummary(progress=0.0, entropy=0.4, excess_surprisal=0.3, updates=8)
    controller.observe(told._replace(ages=(0.5,) * 2))
    controller.observe(told._replace(ages=(0.0,) * 16 + (1.0,)))
    assert not caplog.records
    controller.observe(told._replace(ages=(0.0,) * 17 + (1.0,)))
    controller.observe(told._replace(ages=(0.0,) * 18 + (1.0,)))
    (said,) = caplog.messages
    assert said == (
        "strategy 'thermostat' predicts entropy over at most 16 rollouts, and some tokens are 17 old: it exerts no "
        "pressure on such rollouts, and its window is the plain one; lower the staleness"
    )
    other = Controller(make_strategy("od"))
    other.observe(told._replace(ages=(0.0,) * 17 + (1.0,)))
    assert len(caplog.messages) == 1
