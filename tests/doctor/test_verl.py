"""What is said of whole verl configurations. verl need not be installed; that it is so in verl: test_verl_faults.py."""

import re
from pathlib import Path

import pytest

from entrostat.cli import main
from entrostat.doctor import Finding, findings, read, settings
from entrostat.doctor.verl import ACTOR, CORRECTION, LOSS, TRAINER_MODE
from entrostat.strategies import STRATEGIES, make_strategy
from entrostat.trainers import VERL_NEEDED, VERL_TRAINERS

ROOT = Path(__file__).parents[2]
ONE_UPDATE = "data.train_batch_size=256"
BYPASS = f"{CORRECTION}.bypass_mode=true"


def found(*words, strategy=None):
    return {one.finding: one for one in findings(settings(read(words)), strategy)}


def test_bypass_mode_leaves_the_chosen_loss():
    own = Finding.BYPASS_MODE
    assert set(found(BYPASS, f"{ACTOR}.clip_ratio=0.3")) == {own, Finding.CLIP_RATIO_ALONE}
    assert set(found(BYPASS, f"{ACTOR}.clip_ratio_high=3")) == {own, Finding.DUAL_CLIP}
    assert set(found(BYPASS, f"{ACTOR}.clip_ratio_high=3", f"{LOSS}.loss_mode=gpg")) == {own, Finding.THRESHOLD_IGNORED}
    # its ratios are those of two engines
    assert set(found(BYPASS, ONE_UPDATE)) == {own}


def test_a_loss_that_acts_at_ratio_1_may_have_it_always():
    for mode in ("gpg", "clip_cov"):
        assert not found(ONE_UPDATE, f"{LOSS}.loss_mode={mode}")
    for mode in ("vanilla", "gspo", "somebodys_own"):
        assert Finding.RATIO_ALWAYS_ONE in found(ONE_UPDATE, f"{LOSS}.loss_mode={mode}")


# The plug-in: its configuration names the strategy


def ours(strategy, **options):
    needed = [f"{name}={value}" for name, value in VERL_NEEDED.items()]
    words = [*needed, f"+{LOSS}.strategy={strategy}"]
    return [*words, *(f"+{LOSS}.options.{name}={value}" for name, value in options.items())]


def test_the_lines_of_the_page_are_a_run_without_a_finding(capsys):
    page = (ROOT / "docs/engines.md").read_text()
    (block,) = re.findall(r"^python -m verl.trainer.main_ppo \.\.\.(.*?)```", page, re.DOTALL | re.MULTILINE)
    words = block.replace("\\", "").split()
    assert f"+{LOSS}.strategy=thermostat" in words
    assert main(["doctor", *words, ONE_UPDATE]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_update_is_a_finding_under_what_does_not_act_on_fresh_tokens(name):
    assert (Finding.RATIO_ALWAYS_ONE in found(*ours(name), ONE_UPDATE)) == (name != "thermostat")
    assert Finding.RATIO_ALWAYS_ONE not in found(*ours(name), ONE_UPDATE, BYPASS)


def test_options_count():
    assert Finding.RATIO_ALWAYS_ONE in found(*ours("regions", e1=0.1), ONE_UPDATE)
    assert Finding.RATIO_ALWAYS_ONE not in found(*ours("regions", e1=-1), ONE_UPDATE)
    assert not found(*ours("dcpo", cap=2.5))
    assert found(*ours("clip-higher", high="2.5e0"))[Finding.DUAL_CLIP].settings["highest of clip-higher"] == 2.5


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_dual_clip_is_inside_a_wide_window_and_a_guard_where_there_is_no_end(name):
    """For A < 0 only the low side acts: an open window sets nothing that the cap could cut."""
    assert (Finding.DUAL_CLIP in found(*ours(name))) == (name in ("dcpo", "mai"))
    assert not found(*ours(name), f"{ACTOR}.clip_ratio_c=1e6")


def test_where_the_window_ends_is_said():
    seen = found(*ours("clip-lower", high=9))[Finding.DUAL_CLIP]
    assert seen.said.endswith("A < 0 where the window goes up to 1 + 9 (highest of clip-lower)")
    assert seen.settings == {f"{ACTOR}.clip_ratio_c": 3.0, "highest of clip-lower": 9.0}


def test_verls_own_window_is_not_read():
    for threshold in ("clip_ratio", "clip_ratio_low", "clip_ratio_high"):
        seen = found(*ours("thermostat"), f"{ACTOR}.{threshold}=0.28", f"{ACTOR}.clip_ratio_c=1e6")
        assert set(seen) == {Finding.THRESHOLD_IGNORED}
        assert seen[Finding.THRESHOLD_IGNORED].said == f"loss_mode entrostat does not read {threshold} 0.28"


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_bonus_is_a_finding_beside_a_controller(name):
    cap = f"{ACTOR}.clip_ratio_c=1e6"
    seen = found(*ours(name), f"{ACTOR}.entropy_coeff=0.001", cap)
    assert set(seen) == ({Finding.BONUS_AND_CONTROLLER} if make_strategy(name).controls_entropy else set())
    assert not found(f"{ACTOR}.entropy_coeff=0.001")


def test_a_strategy_that_is_given_goes_over_the_one_that_is_named():
    assert (
        found(*ours("clip-lower"), ONE_UPDATE, f"{ACTOR}.clip_ratio_c=1e6", strategy=make_strategy("thermostat")) == {}
    )
    seen = found(f"{ACTOR}.clip_ratio_high=0.28", strategy=make_strategy("clip-lower"))
    assert set(seen) == {Finding.THRESHOLD_IGNORED}


def test_a_strategy_that_no_loss_reads_counts_for_nothing():
    words = [f"+{LOSS}.strategy=thermostat", ONE_UPDATE]
    seen = found(*words)
    assert set(seen) == {Finding.RATIO_ALWAYS_ONE, Finding.PLUGIN_OFF}
    assert all(f"{name}={value}" in seen[Finding.PLUGIN_OFF].said for name, value in VERL_NEEDED.items())


@pytest.mark.parametrize("left_out", VERL_NEEDED)
def test_each_thing_that_the_plug_in_needs_is_missed(left_out):
    words = [word for word in ours("thermostat") if not word.startswith(f"{left_out}=")]
    seen = found(*words)
    assert Finding.PLUGIN_OFF in seen and seen[Finding.PLUGIN_OFF].said.endswith(f"{left_out}={VERL_NEEDED[left_out]}")
    # the v0 trainer has no trainer_mode
    v0 = found(*words, "trainer.use_v1=false")
    assert (Finding.PLUGIN_OFF in v0) == (not left_out.endswith("trainer_mode"))
    assert Finding.PLUGIN_OFF not in found(f"+{LOSS}.strategy=mine", f"{LOSS}._target_=mine.Loss")


def test_each_trainer_has_a_mode_of_the_plug_ins_own():
    without = [word for word in ours("thermostat") if "trainer_mode" not in word]
    for mode, verls in VERL_TRAINERS.items():
        assert Finding.PLUGIN_OFF not in found(*without, f"{TRAINER_MODE}={mode}")
        said = found(*without, f"{TRAINER_MODE}={verls}")[Finding.PLUGIN_OFF].said
        assert said.endswith(f"missing is: {TRAINER_MODE}={mode}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ours("null"), f"{LOSS}.strategy is not set, and loss_mode entrostat needs one: grpo, "),
        (ours("thermostt"), "unknown strategy 'thermostt': did you mean thermostat"),
        (ours("thermostat", tagret=1), "strategy 'thermostat' has no option 'tagret': did you mean target"),
        (ours("thermostat", target=-1.0), "target must stay over 0 nats, got -1.0"),
        (ours("thermostat", target="[1]"), f"entrostat: {LOSS}: "),
        (ours("clip-lower", low="wide"), f"{LOSS}.options.low must be a number, got 'wide'"),
        (ours("dynamic", upper_dynamic=3), f"{LOSS}.options.upper_dynamic must be true or false, got 3"),
        ([*ours("grpo"), f"+{LOSS}.options=3"], f"{LOSS}.options must be a mapping, or null, got 3"),
        ([*ours("grpo"), f"+{LOSS}.strategy=3"], f"{LOSS}.strategy must be text, or null, got 3"),
        (ours("x" * 9000), f"{LOSS}: unknown strategy 'xxx"),
    ],
)
def test_what_the_plug_in_cannot_make_is_refused_in_one_line(capsys, words, said):
    assert main(["doctor", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
    assert len(err) < 700


# Names, words and what is not known


def test_an_added_name_in_a_section_that_refuses_it():
    seen = found(f"{LOSS}.loss_mode=sapo", f"+{LOSS}.tau_pos=1.0")
    assert seen[Finding.WRONG_SECTION].said == f"+{LOSS}.tau_pos (meant: {ACTOR}.tau_pos)"
    # somebody's own class may take it, and a section without a class takes all
    assert not found(f"+{LOSS}.tau_pos=1.0", f"{LOSS}._target_=mine.Loss")
    assert not found("+trainer.tau_pos=1.0", f"+{LOSS}.mine=1.0")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        (f"{LOSS}.loss_mode=vanila", "there is no loss_mode vanila: did you mean vanilla?"),
        (f"{ACTOR}.loss_agg_mode=token_mean", "there is no loss_agg_mode token_mean: did you mean token-mean?"),
        (f"{LOSS}.loss_mode=bypass_mode", None),
        (f"{LOSS}.loss_mode=my_paper", None),
    ],
)
def test_a_word_that_is_a_typo_away(word, near):
    seen = found(word)
    assert (seen[Finding.UNKNOWN_WORD].said if near else seen) == (near or {})


def test_what_an_interpolation_does_not_show_is_not_judged():
    plain = settings(read([f"{ACTOR}.ppo_mini_batch_size=${{data.train_batch_size}}"]))
    assert plain[f"{ACTOR}.ppo_mini_batch_size"] == 1024 and not plain.unknown
    chosen = settings(read([f"{ACTOR}.ppo_mini_batch_size=${{oc.select:mine.size,1024}}"]))
    assert chosen[f"{ACTOR}.ppo_mini_batch_size"] == 1024 and found(f"{ACTOR}.ppo_mini_batch_size=1024")
    for open_value in ("${mine.size}", "${oc.env:SIZE}", "a${b}"):
        config = settings(read([ONE_UPDATE, f"{ACTOR}.ppo_mini_batch_size={open_value}"]))
        assert config.unknown == {f"{ACTOR}.ppo_mini_batch_size"} and findings(config) == []
        assert any("is not resolved: what depends on it was not judged" in note for note in config.notes)


def test_a_stream_without_batches_is_not_judged():
    words = ["data.train_batch_size=0"]
    config = settings(read(words))
    assert findings(config) == [] and config.notes[-1].endswith(
        "an older policy: whether every ratio is 1 was not judged"
    )
    assert main(["doctor", *words]) == 0
