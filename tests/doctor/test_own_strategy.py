"""A strategy of one's own is judged by what it says of itself, not by its name."""

import pytest

from entrostat.doctor import Finding, findings, read, settings
from own_strategy import Own


@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.parametrize(
    "bonus", [["steps_per_generation=8", "entropy_coef=0.01"], ["actor_rollout_ref.actor.entropy_coeff=0.01"]]
)
def test_a_bonus_is_a_finding_beside_a_controller_alone(bonus, controls):
    found = {one.finding for one in findings(settings(read(bonus)), Own(controls=controls))}
    assert (Finding.BONUS_AND_CONTROLLER in found) == controls
