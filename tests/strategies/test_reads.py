"""What a strategy says that it reads is what it reads, and an error says who gives it."""

import dataclasses

import pytest
import torch

from entrostat import RolloutSummary, TokenStats
from entrostat.objectives import OBJECTIVES
from entrostat.strategies import STRATEGIES, NoState, Reads, make_strategy
from entrostat.strategies.base import STATISTICS, require_stats
from own_strategy import Silent

LOGPROBS = torch.tensor([[-0.01, -1.0, -9.0]])
SUMMARY = {"entropy": 0.4, "excess_surprisal": 0.3, "bracket": 0.1}
CASES = [*((name, {}) for name in sorted(STRATEGIES)), ("thermostat", {"tilt": "bracket"})]


@dataclasses.dataclass(frozen=True)
class OwnReader(Silent):
    """Somebody's own that reads entropy at each token, declared as a class attribute."""

    reads = Reads.TOKEN_ENTROPY

    def bounds(self, state, old):
        require_stats(self, old)
        return super().bounds(state, old)


def told(reads):
    """A summary and statistics that hold what `reads` names, and nothing else."""
    summary, fields = {}, {}
    for statistic in (STATISTICS[one] for one in reads):
        summary |= {name: SUMMARY[name] for name in statistic.in_summary}
        fields |= {name: torch.full_like(LOGPROBS, 0.4) for name in statistic.in_stats}
    return RolloutSummary(progress=0.1, **summary), TokenStats(LOGPROBS, **fields)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_what_a_strategy_reads_is_enough(name, options):
    strategy = make_strategy(name, **options)
    summary, old = told(strategy.reads)
    state = strategy.observe(strategy.init(), summary)
    assert not any(side.isnan().any() for side in strategy.bounds(state, old))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_it_reads_all_of_it(name, options):
    """Without any one of what it reads it says so, and where to get it."""
    strategy = make_strategy(name, **options)
    state = strategy.observe(strategy.init(), told(strategy.reads)[0])
    for one in strategy.reads:
        summary, old = told(strategy.reads & ~one)
        with pytest.raises(ValueError, match=f"{type(strategy).__name__} needs .*, got None: in TRL use") as caught:
            strategy.observe(strategy.init(), summary)
            strategy.bounds(state, old)
        assert "\n" not in str(caught.value)


def test_what_needs_the_entropy_of_the_rollout_alone_says_so():
    assert {name for name in STRATEGIES if make_strategy(name).controls_entropy} == {"adapo", "mai", "od", "thermostat"}
    assert make_strategy("od").reads == Reads.MEAN_ENTROPY
    assert OBJECTIVES["entropic"]().reads == Reads.MEAN_ENTROPY


def test_each_statistic_has_its_own_source():
    missing = TokenStats(LOGPROBS)
    with pytest.raises(ValueError, match=r"Regions needs the old policy's entropy.*bypass_mode=false"):
        make_strategy("regions").bounds(NoState(), missing)
    bracket = make_strategy("thermostat", tilt="bracket")
    with pytest.raises(ValueError, match=r"Thermostat needs the rollout's mean bracket.*Reads.VOCABULARY_SUMS"):
        require_stats(bracket, RolloutSummary(0.0, entropy=0.4))


def test_a_strategy_of_ones_own_needs_no_declaration():
    strategy = Silent()
    assert strategy.reads == Reads.LOGPROBS
    assert not strategy.controls_entropy
    require_stats(strategy, TokenStats(LOGPROBS))
    require_stats(strategy, RolloutSummary(0.0))
    with pytest.raises(ValueError, match="OwnReader needs the old policy's entropy"):
        OwnReader().bounds(NoState(), TokenStats(LOGPROBS))
