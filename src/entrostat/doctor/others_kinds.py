"""What is known of another trainer, as data: its settings by what they mean, what its
losses read, what its corrections act on. The entries are in others.py and
others_streamed.py."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from entrostat.doctor.settings import Kind


class Setting(NamedTuple):
    """One setting of a trainer."""

    name: str
    """Dotted, as the configuration has it; without the dashes of a flag."""
    kind: Kind
    default: Any = None
    before: tuple[str, ...] = ()
    """Names that it had in older versions."""


class Where(NamedTuple):
    """A setting that has one of these values; without values, one that is true."""

    meaning: str
    values: tuple[Any, ...] = ()


class OtherLoss(NamedTuple):
    """What one loss of a trainer reads."""

    reads: tuple[str, ...] = ()
    """The thresholds, by meaning."""
    unit: Literal["token", "sequence", "probability", "weight", "cap"] = "token"
    """What the window bounds: a token's ratio, a sequence's mean ratio, the difference of
    two probabilities, the ratio as a weight without gradient; `cap`: such a weight, and
    `high` is the largest weight itself."""
    acts_at_one: bool = False
    """Whether the loss does its work while every ratio is 1."""
    against_sampler: bool = False
    """Whether the ratio's denominator is the sampler's own probability, always."""
    sampler_where: tuple[Where, ...] = ()
    """Where that is so if all of these hold."""


class Correction(NamedTuple):
    """A weight on the ratio of the trainer's old probability to the sampler's, or a band
    outside of which tokens are dropped. By meaning."""

    on: tuple[Where, ...]
    """It acts where one of these holds."""
    low: str = ""
    high: str = ""
    pair: str = ""
    """Both bounds in one setting."""
    others: tuple[str, ...] = ()
    """What else is read only where it acts."""
    losses: tuple[str, ...] = ()
    """The losses that it acts in; empty: all."""
    function: str = ""
    """A function of somebody's own, which reads the bounds as it likes."""


class Switched(NamedTuple):
    """A coefficient that nothing reads while its switches are off. By meaning."""

    coefficient: str
    switches: tuple[str, ...]


class Trainer(NamedTuple):
    """A trainer's settings, by meaning.

    Batches: `rollout` and `update` (sizes), `samples` (per prompt), `epochs`, `steps`
    (updates, or micro-batches, per rollout). The window: `low`, `high`, `both` (in place
    of a side that is null), `pair` (both sides in one), `cap` (where A < 0), `level`
    (token or sequence), `probability` (one bound for both sides). `loss`, `temperature`,
    `top_p`, `top_k`, `min_p`, coefficients and their switches.
    """

    title: str
    version: str
    """By whose source."""
    batches: Literal["prompts", "responses", "accumulated", "steps", "streamed"]
    """How many updates a rollout has: rollout / update in prompts; rollout x samples /
    update; as TRL counts; as said; or every ratio is against an older policy."""
    settings: Mapping[str, Setting]
    losses: Mapping[str, OtherLoss]
    stale: tuple[Where, ...] = ()
    """Where a ratio can leave 1 although a rollout has one update, or where that is not
    known."""
    late: tuple[Where, ...] = ()
    """Where rollouts are of an older policy, and the old probabilities are still taken
    anew from the policy that trains, so that no ratio leaves 1."""
    late_entry: bool = False
    """Whether that holds too for what a script with `async` in its name starts."""
    corrections: tuple[Correction, ...] = ()
    switched: tuple[Switched, ...] = ()
    clip_metric: str = ""
    """The share of clipped tokens in its log."""
    signature: frozenset[str] = frozenset()
    """Names that only a configuration of this trainer has; one is enough."""


TOKEN = OtherLoss(reads=("low", "high", "both", "cap"))
NO_CAP = OtherLoss(reads=("low", "high", "both"))
SEQUENCE = OtherLoss(reads=("low", "high", "both", "cap"), unit="sequence")
