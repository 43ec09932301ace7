"""The count of verl's scripts, on a made-up checkout."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
RUN = "python3 -m {entry} {config} actor_rollout_ref.rollout.n=8 {settings}\n"
MAIN = "verl.trainer.main_ppo"
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
TEACHER = "distillation.enabled=True distillation.distillation_loss.use_task_rewards={}"
CORRECTION = "algorithm.rollout_correction.bypass_mode=true"
MODE = "trainer.v1.trainer_mode"
# script: entry, named file, settings, and what must be found: trainer, engine, a part of why not
SCRIPTS = {
    "plain": (MAIN, "", "", "sync", "fsdp", ""),
    "variable": (MAIN, "", "actor_rollout_ref.actor.strategy=$STRATEGY", "sync", "fsdp2", ""),
    "named": (MAIN, "--config-name=ppo_megatron_trainer.yaml", "", "sync", "megatron", ""),
    "group": (MAIN, "model_engine=veomni", f"{MODE}=colocate_async", "colocate_async", "veomni", ""),
    "separate": (MAIN, "", f"{MODE}=separate_async", "separate_async", "fsdp", ""),
    "bypass": (MAIN, "", CORRECTION, "sync", "fsdp", ""),
    "gspo": (MAIN, "", f"{LOSS}=gspo", "sync", "fsdp", ""),
    "cispo": (MAIN, "", f"{LOSS}=cispo", "sync", "fsdp", "another loss, cispo"),
    "v0": (MAIN, "", "trainer.use_v1=False", "v0", "fsdp", "keeps a state"),
    "dynamic": (
        MAIN,
        "model_engine=megatron",
        "actor_rollout_ref.actor.megatron.dynamic_context_parallel=True",
        "sync",
        "megatron",
        "dynamic_context_parallel=true is not supported",
    ),
    "async": (
        "verl.experimental.a.fully_async_main",
        "",
        "",
        "experimental.a.fully_async_main",
        "fsdp",
        "another driver",
    ),
    "teacher": (MAIN, "", TEACHER.format(False), "sync", "fsdp", "not counted: a teacher alone"),
    "both": (MAIN, "", TEACHER.format(True), "sync", "fsdp", "distillation sets a loss function of its own"),
    "gone": ("verl.trainer.main_gone", "", "", "sync", "fsdp", "not counted: verl has no verl.trainer.main_gone"),
}


@pytest.fixture(scope="module")
def share(tmp_path_factory):
    sys.path.insert(0, str(BENCH))
    try:
        import verl_share
    finally:
        sys.path.remove(str(BENCH))
    checkout = tmp_path_factory.mktemp("verl")
    for entry in (MAIN, "verl.experimental.a.fully_async_main"):
        file = checkout / f"{entry.replace('.', '/')}.py"
        file.parent.mkdir(parents=True)
        file.touch()
    for name, (entry, config, settings, *_) in SCRIPTS.items():
        run = RUN.format(entry=entry, config=config, settings=settings)
        (checkout / f"{name}.sh").write_text(f"STRATEGY=fsdp2\n{run}")
    (checkout / "sft.sh").write_text("python3 -m verl.trainer.sft_trainer data.train_files=a\n")
    return verl_share, verl_share.rows(checkout)


def test_each_script_is_judged_by_the_plug_ins_rules(share):
    _, rows = share
    assert {row.path.removesuffix(".sh") for row in rows} == set(SCRIPTS)
    for row in rows:
        *_, trainer, engine, why = SCRIPTS[row.path.removesuffix(".sh")]
        assert (row.trainer, row.engine) == (trainer, engine), row
        assert bool(row.refused) == bool(why) and why in row.refused, row


def test_the_page_has_the_share_of_what_is_counted(share):
    verl_share, rows = share
    page = verl_share.page(rows, "command", "abc")
    assert "verl at abc: **7 of 12 scripts, 58.3%**" in page
    assert "| sync | fsdp | 3 | 5 |" in page
    assert "Of all 14 scripts for verl it is\n50.0%" in page
