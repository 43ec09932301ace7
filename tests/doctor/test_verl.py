"""What is said of whole verl configurations. verl need not be installed; that it is so in verl: test_verl_faults.py."""

from entrostat.doctor import Finding, findings, read, settings
from entrostat.doctor.verl import ACTOR, CORRECTION, LOSS

ONE_UPDATE = "data.train_batch_size=256"
BYPASS = f"{CORRECTION}.bypass_mode=true"


def found(*words, strategy=None):
    return {one.finding: one for one in findings(settings(read(words)), strategy)}


def test_bypass_mode_leaves_the_chosen_loss():
    assert set(found(BYPASS, f"{ACTOR}.clip_ratio=0.3")) == {Finding.CLIP_RATIO_ALONE}
    assert set(found(BYPASS, f"{ACTOR}.clip_ratio_high=3")) == {Finding.DUAL_CLIP}
    assert set(found(BYPASS, f"{ACTOR}.clip_ratio_high=3", f"{LOSS}.loss_mode=gpg")) == {Finding.THRESHOLD_IGNORED}
    # its ratios are those of two engines
    assert not found(BYPASS, ONE_UPDATE)


def test_a_loss_that_acts_at_ratio_1_may_have_it_always():
    for mode in ("gpg", "clip_cov"):
        assert not found(ONE_UPDATE, f"{LOSS}.loss_mode={mode}")
    for mode in ("vanilla", "gspo", "somebodys_own"):
        assert set(found(ONE_UPDATE, f"{LOSS}.loss_mode={mode}")) == {Finding.RATIO_ALWAYS_ONE}
