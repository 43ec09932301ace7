"""What the checks of TRL and of verl share: the run that they judge, and how they are
run."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.settings import MAX_TEXT, Settings, plain, shown
from entrostat.strategies import strategy_name

if TYPE_CHECKING:
    from entrostat.strategies import Strategy


@dataclasses.dataclass(frozen=True)
class Run:
    """A configuration, and the strategy of entrostat under which it will run."""

    settings: Settings
    loss: str
    """TRL's loss type, or verl's loss mode."""
    strategy: "Strategy | None" = None
    """None: the trainer's own thresholds."""
    processes: int = 1

    @property
    def acts_on_fresh(self) -> bool:
        """Whether the strategy moves tokens whose ratio is 1."""
        return self.strategy is not None and self.strategy.acts_on_fresh


Check = Callable[[Run], Found | None]
"""One fault that a run may have; None where it does not."""


def run_checks(checks: Sequence[Check], run: Run) -> list[Found]:
    """What the checks find, in their order."""
    results = []
    for check in checks:
        found = check(run)
        if found is not None:
            results.append(found)
    return results


class Edge(NamedTuple):
    """The upper end of the window."""

    name: str
    """What sets it."""
    half_width: float


def upper_edge(run: Run, own: Edge) -> Edge:
    """The highest end that the strategy's window can have; without a strategy the
    trainer's own."""
    if run.strategy is None:
        return own
    return Edge(f"highest of {strategy_name(run.strategy)}", run.strategy.highest)


def one_update(values: Mapping[str, int]) -> Found:
    """That every ratio is 1, by these settings."""
    said = f"one update per rollout ({shown(values)})"
    return Found(Finding.RATIO_ALWAYS_ONE, said, dict(values))


OF_THE_TRAINED = (
    "and the old log-probs are taken anew from the policy that trains, whatever the age of "
    "the rollouts"
)
"""Why asynchronous rollouts do not let a ratio leave 1."""
SEQUENCE_HALF_WIDTH = 0.01
"""From here on a window is taken for one of token ratios. A sequence's ratio is a
geometric mean over its tokens; the paper's windows are 3e-4 and 4e-4 (2507.18071)."""


def sequence_window(
    low: float | None, high: float | None, values: Mapping[str, Any]
) -> Found | None:
    """That a window of token ratios stands under a loss whose ratio is a sequence's."""
    wide = [half for half in (low, high) if half is not None and half]
    if not wide or min(wide) < SEQUENCE_HALF_WIDTH:
        return None
    said = f"a sequence's mean ratio is clipped with {shown(values)}"
    return Found(Finding.SEQUENCE_WINDOW, said, dict(values))


MISMATCH = 0.01
"""Half-widths under this are of the size of what two engines differ by: the mean of
|ln r| per token, at the same weights, is some 0.005 to 0.03."""


def mismatch_window(
    low: float | None,
    high: float | None,
    unit: str,
    values: Mapping[str, Any],
    anchor: Mapping[str, Any],
) -> Found | None:
    """That a narrow window bounds a ratio whose denominator is the sampler's.

    Args:
        unit: of the window: token, sequence or probability.
        values: the window's settings.
        anchor: the settings that make the denominator the sampler's.
    """
    narrow = [half for half in (low, high) if half is not None and 0 < half < MISMATCH]
    if not narrow:
        return None
    whose = "a sequence's mean ratio" if unit == "sequence" else f"a {unit}"
    by = f" ({shown(anchor)})" if anchor else ""
    said = f"{shown(values)} bounds {whose} against the sampler's log-probs{by}"
    return Found(Finding.MISMATCH_WINDOW, said, {**values, **anchor})


def outside_band(low: float | None, high: float | None) -> bool:
    """Whether the ratio 1 is not between the bounds; None is no bound."""
    return (low is not None and low > 1) or (high is not None and high < 1)


def unknown_word(name: str, word: str, known: Iterable[str]) -> Found | None:
    """That `word` is none of `known`, and a typo away from one. Another word may be
    somebody's own."""
    known = list(known)
    if word in known:
        return None
    same = [each for each in known if each == word.replace("_", "-").lower()]
    near = same or difflib.get_close_matches(word[:MAX_TEXT], known, n=1, cutoff=0.75)
    if not near:
        return None
    last = name.rpartition(".")[2]
    said = f"there is no {last} {plain(word)}: did you mean {near[0]}?"
    return Found(Finding.UNKNOWN_WORD, said, {name: word})


def sampling_cut(
    sampler: Mapping[str, Any], off: Mapping[str, tuple[Any, ...]]
) -> Found | None:
    """That the sampler draws from a part of the distribution alone.

    Args:
        sampler: what it is told, by name.
        off: by name, the values under which it draws from the whole.
    """
    cuts = {}
    for name, values in off.items():
        if sampler[name] not in values:
            cuts[name] = sampler[name]
    if not cuts:
        return None
    return Found(Finding.SAMPLING_CUT, f"the sampler has {shown(cuts)}", cuts)


def bonus_beside(run: Run, bonus: Mapping[str, Any]) -> Found | None:
    """That an entropy bonus stands beside a strategy that controls entropy. `bonus` is
    empty where the loss has none."""
    if run.strategy is None or not run.strategy.controls_entropy or not bonus:
        return None
    name = strategy_name(run.strategy)
    return Found(
        Finding.BONUS_AND_CONTROLLER,
        f"{shown(bonus)} beside {name}",
        {**bonus, "strategy": name},
    )
