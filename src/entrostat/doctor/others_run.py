"""A configuration of a trainer in doctor/others.py, by what its settings mean."""

import dataclasses
from typing import Any

from entrostat.doctor.others_kinds import Correction, OtherLoss, Trainer, Where
from entrostat.doctor.settings import Settings


@dataclasses.dataclass(frozen=True)
class OtherRun:
    """A configuration and its trainer's entry; values by meaning."""

    settings: Settings
    trainer: Trainer
    loss_name: str
    loss: OtherLoss | None
    """None: a loss of somebody's own, of which nothing is known."""

    def __getitem__(self, meaning: str) -> Any:
        """None where the trainer has no such setting."""
        setting = self.trainer.settings.get(meaning)
        return None if setting is None else self.settings[setting.name]

    def name(self, meaning: str) -> str:
        return self.trainer.settings[meaning].name

    def named(self, *meanings: str) -> dict[str, Any]:
        """The values that the trainer has and that are known, by their names."""
        found = {}
        for meaning in meanings:
            if self[meaning] is not None:
                found[self.name(meaning)] = self[meaning]
        return found

    def changed(self, meaning: str) -> bool:
        setting = self.trainer.settings.get(meaning)
        return setting is not None and self.settings.changed(setting.name)

    def window(self) -> tuple[float | None, float | None]:
        """Low and high, through the settings that stand in their place."""
        if self["pair"] is not None:
            return self["pair"]
        if self.loss is not None and "probability" in self.loss.reads:
            return self["probability"], self["probability"]
        low = self["both"] if self["low"] is None else self["low"]
        high = low if self["high"] is None else self["high"]
        return low, high

    def holds(self, where: Where) -> bool:
        value = self[where.meaning]
        return value in where.values if where.values else bool(value)

    def acts(self, correction: Correction) -> bool:
        """Whether the correction is on, in this loss."""
        in_this_loss = not correction.losses or self.loss_name in correction.losses
        return in_this_loss and any(self.holds(where) for where in correction.on)

    @property
    def against_sampler(self) -> bool:
        """Whether the ratio's denominator is the sampler's own probability."""
        if self.loss is None or self.loss.against_sampler:
            return self.loss is not None
        where = self.loss.sampler_where
        return bool(where) and all(self.holds(each) for each in where)

    @property
    def late(self) -> dict[str, Any] | None:
        """What makes rollouts older while the old probabilities are those of the policy
        that trains; None where nothing does."""
        entry = self.settings.stale if self.trainer.late_entry else ""
        flags = [each for each in self.trainer.late if self.holds(each)]
        if self.against_sampler or not (entry or flags):
            return None
        return self.named(*[each.meaning for each in flags])
