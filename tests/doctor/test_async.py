"""Asynchronous runs, small and in their true form: whose log-probs the clip bounds, how old they are, what corrects.

That it is so in verl: test_verl_async.py; in TRL: test_trl_faults.py. The others rest on reading their source.
"""

import textwrap

import pytest

from entrostat.doctor import findings, read, settings
from entrostat.doctor.checks import OF_THE_TRAINED
from entrostat.doctor.finding import instead
from entrostat.doctor.verl import BYPASS

ONE, UNSEEN, MISMATCH = "RATIO_ALWAYS_ONE", "STALENESS_UNSEEN", "MISMATCH_WINDOW"
IGNORED, BAND, REFUSED = "CORRECTION_IGNORED", "CORRECTION_BAND", "CORRECTION_REFUSED"


def seen(folder, name, text):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    config = settings(read([str(path)]))
    return config, {found.finding.name: found for found in findings(config)}


def names(*words):
    return {found.finding.name for found in findings(settings(read(words)))}


# verl's asynchronous mains, as in verl issue 7356 but for what is in braces

FULLY = """
    loss_mode=gspo
    clip_ratio_low=3e-4
    clip_ratio_high=4e-4
    python3 -m verl.experimental.fully_async_policy.fully_async_main \\
        --config-path=config --config-name=fully_async_ppo_megatron_trainer.yaml \\
        data.train_batch_size=0 data.gen_batch_size=1 algorithm.adv_estimator=grpo \\
        actor_rollout_ref.rollout.n=8 actor_rollout_ref.actor.ppo_mini_batch_size=16 \\
        actor_rollout_ref.actor.policy_loss.loss_mode=${{loss_mode}} \\
        actor_rollout_ref.actor.clip_ratio_low=${{clip_ratio_low}} \\
        actor_rollout_ref.actor.clip_ratio_high=${{clip_ratio_high}} \\
        async_training.staleness_threshold={staleness} async_training.trigger_parameter_sync_step={trigger} \\
        async_training.partial_rollout=True {more}
    """
DECOUPLED = f"{BYPASS}=False"
TOKEN_IS = "algorithm.rollout_correction.rollout_is=token"


@pytest.mark.parametrize(
    ("staleness", "trigger", "more", "expected"),
    [
        (0.5, 4, "", {MISMATCH}),
        # the sampler's own weights, and still another engine
        (0, 1, "", {MISMATCH}),
        (0.5, 4, f"{DECOUPLED} {TOKEN_IS}", set()),
        (0.5, 4, DECOUPLED, {UNSEEN}),
        (0, 4, DECOUPLED, set()),
        (0.5, 1, DECOUPLED, {ONE, UNSEEN}),
        (0.5, 1, f"{DECOUPLED} {TOKEN_IS}", {ONE}),
        (0.5, 1, f"{DECOUPLED} {TOKEN_IS} async_training.require_batches=2", set()),
        (0.5, 4, TOKEN_IS, {MISMATCH, "BYPASS_MODE"}),
        (0.5, 4, "actor_rollout_ref.actor.use_rollout_log_probs=False", {MISMATCH, IGNORED}),
    ],
)
def test_verls_fully_asynchronous_main(tmp_path, staleness, trigger, more, expected):
    config, found = seen(tmp_path, "run.sh", FULLY.format(staleness=staleness, trigger=trigger, more=more))
    assert set(found) == expected
    assert not any("no such setting" in note or "not judged" in note for note in config.notes)


def test_the_answer_to_a_run_that_clips_40_percent(tmp_path):
    config, found = seen(tmp_path, "run.sh", FULLY.format(staleness=0.5, trigger=4, more=""))
    said = found[MISMATCH].said
    assert "clip_ratio_low 0.0003, clip_ratio_high 0.0004 bounds a sequence's mean ratio against the sampler's" in said
    assert found[MISMATCH].settings[BYPASS] is True
    assert "rollout_corr/log_ppl_abs_diff" in instead(found[MISMATCH].finding, config.trainer)


def test_with_another_file_of_settings_the_mains_own_are_not_known(tmp_path):
    text = FULLY.format(staleness=0.5, trigger=1, more="").replace("fully_async_ppo_megatron_trainer", "mine")
    config, found = seen(tmp_path, "run.sh", text)
    assert set(found) == set() and BYPASS in config.unknown
    _, found = seen(tmp_path, "run.sh", text.replace("algorithm.adv_estimator=grpo", f"{BYPASS}=True"))
    assert "BYPASS_MODE" in found


@pytest.mark.parametrize("entry", ["recipe.fully_async_policy.fully_async_main", "verl_omni.trainer.main_diffusion"])
def test_another_main_is_not_judged_by_verls(tmp_path, entry):
    text = (
        FULLY.format(staleness=0.5, trigger=1, more="")
        .replace("--config-path=config", "")
        .replace("verl.experimental.fully_async_policy.fully_async_main", entry)
    )
    text = text.replace("--config-name=fully_async_ppo_megatron_trainer.yaml", "")
    assert not seen(tmp_path, "run.sh", text)[1]


def test_what_is_said_of_an_entropy_that_nobody_logs(tmp_path):
    tempered = "actor_rollout_ref.rollout.temperature=0.7 actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean"
    _, found = seen(tmp_path, "run.sh", FULLY.format(staleness=0.5, trigger=4, more=tempered))
    assert set(found) == {MISMATCH, "TEMPERATURE"} and "log-probs are the tempered" in found["TEMPERATURE"].said
    _, found = seen(tmp_path, "run.sh", FULLY.format(staleness=0, trigger=4, more=f"{tempered} {DECOUPLED}"))
    assert set(found) == {"ENTROPY_AGGREGATION", "TEMPERATURE"}
    assert "actor/entropy is the tempered" in found["TEMPERATURE"].said


ONE_STEP = """
    python3 -m verl.experimental.one_step_off_policy.main_ppo actor_rollout_ref.actor.ppo_mini_batch_size=32 \\
        data.train_batch_size={batch} {more}
    """


def test_verls_one_step_off_main(tmp_path):
    assert not seen(tmp_path, "run.sh", ONE_STEP.format(batch=32, more=""))[1]
    assert set(seen(tmp_path, "run.sh", ONE_STEP.format(batch=32, more=DECOUPLED))[1]) == {ONE, UNSEEN}
    assert set(seen(tmp_path, "run.sh", ONE_STEP.format(batch=96, more=f"{DECOUPLED} {TOKEN_IS}"))[1]) == set()


# verl's v1

ASYNC = "trainer.v1.trainer_mode="
SYNC_STEP = "trainer.v1.separate_async.parameter_sync_step"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([f"{ASYNC}colocate_async", TOKEN_IS], set()),
        ([f"{ASYNC}colocate_async", TOKEN_IS, "data.train_batch_size=256"], {ONE}),
        ([f"{ASYNC}colocate_async", f"{BYPASS}=true", "data.train_batch_size=256"], {"BYPASS_MODE"}),
        ([f"{ASYNC}colocate_async"], {UNSEEN}),
        ([f"{ASYNC}colocate_async", "algorithm.rollout_correction.rollout_rs=token_k1"], {REFUSED}),
        # its batch is as many mini-batches as there are steps between synchronisations
        ([f"{ASYNC}separate_async", TOKEN_IS], set()),
        ([f"{ASYNC}separate_async", TOKEN_IS, f"{SYNC_STEP}=1"], {ONE}),
        ([f"{ASYNC}separate_async", TOKEN_IS, f"{SYNC_STEP}=1", "actor_rollout_ref.actor.ppo_epochs=2"], set()),
        ([f"{ASYNC}sync", "data.train_batch_size=256"], {ONE}),
        ([f"{ASYNC}mine_async", "data.train_batch_size=256"], set()),
    ],
)
def test_verls_trainer_modes(words, expected):
    assert names(*words) == expected


def test_why_a_stale_ratio_is_one_is_said():
    config = settings(read([f"{ASYNC}colocate_async", TOKEN_IS, "data.train_batch_size=256"]))
    (found,) = findings(config)
    assert found.said.endswith(OF_THE_TRAINED) and found.settings[BYPASS] is False
    assert not any("not judged" in note for note in config.notes)


@pytest.mark.parametrize("mode", ["entrostat", "entrostat_colocate_async", "entrostat_separate_async"])
def test_each_mode_of_the_plugin_is_whole(mode):
    loss = "actor_rollout_ref.actor.policy_loss"
    words = [f"{loss}.loss_mode=entrostat", f"{loss}._target_=entrostat.engines.verl.config.EntrostatLossConfig"]
    words += [f"+{loss}.strategy=thermostat", f"{ASYNC}{mode}", "data.train_batch_size=256"]
    assert names(*words) == set()
    assert "PLUGIN_OFF" in names(*words[1:])


# verl's corrections

CORRECTION = "algorithm.rollout_correction"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("rollout_is=token rollout_is_threshold=5", None),
        ("rollout_is=sequence rollout_is_threshold=0.5_5.0", None),
        ("rollout_rs=token_k1,seq_max_k2 rollout_rs_threshold=0.6_1.6,2.5", None),
        ("rollout_rs=seq_mean_k1 rollout_rs_threshold=1.001", None),
        # to Hydra that is the number 0.55
        ("rollout_is=token rollout_is_threshold=0.5_5", BAND),
        ("rollout_is=token rollout_is_threshold=0.8", BAND),
        ("rollout_is=token rollout_is_threshold=1.1_5.0", BAND),
        ("rollout_rs=seq_mean_k1 rollout_rs_threshold=1.001_1.01", BAND),
        ("rollout_rs=seq_mean_k1 rollout_rs_threshold=0.9", REFUSED),
        ("rollout_rs=seq_mean_k3", REFUSED),
        ("rollout_rs=seq_mean_k3 rollout_rs_threshold=0.1_0.2", REFUSED),
        ("rollout_rs=seq_min_k3 rollout_rs_threshold=0.1", REFUSED),
        ("rollout_is=geometric", REFUSED),
        ("rollout_is=token rollout_is_threshold=5.0_0.5", REFUSED),
        ("rollout_is_threshold=5", IGNORED),
        ("rollout_rs_threshold=0.999_1.001", IGNORED),
        ("rollout_is_batch_normalize=true", IGNORED),
        ("loss_type=reinforce", IGNORED),
        ("rollout_is_threshold=null", None),
    ],
)
def test_verls_corrections(words, expected):
    given = [f"{CORRECTION}.{word}" for word in words.split()]
    assert names(*given) == ({expected} if expected else set())


def test_a_correction_needs_the_samplers_log_probs():
    words = [TOKEN_IS, "actor_rollout_ref.rollout.calculate_log_probs=false"]
    assert names(*words) == {IGNORED}
    assert names(*words, f"{BYPASS}=true") == {"BYPASS_MODE"}


def test_the_loss_mode_bypass_mode_reads_what_the_others_do_not():
    words = [f"{BYPASS}=true", TOKEN_IS, f"{CORRECTION}.loss_type=reinforce"]
    assert names(*words) == {"BYPASS_MODE"}
    assert names(*words, "actor_rollout_ref.actor.policy_loss.loss_mode=bypass_mode") == set()


def test_an_option_of_an_older_verl_is_a_note():
    config = settings(read([f"{CORRECTION}.rollout_rs=geometric", f"{CORRECTION}.rollout_rs_threshold=1.01"]))
    assert findings(config) == [] and any("is an option of an older verl" in note for note in config.notes)


# Other trainers

SLIME = """
    ray job submit -- python3 train_async.py --rollout-batch-size 32 --n-samples-per-prompt 8 \\
       --global-batch-size {update} --advantage-estimator {loss} --update-weights-interval 2 \\
       --eps-clip {clip} --eps-clip-high 4e-4 {more}
    """
SKYRL = """
    uv run -m examples.train.fully_async.main_fully_async trainer.fully_async.enabled=true \\
      trainer.fully_async.max_staleness_steps=4 trainer.train_batch_size=256 trainer.policy_mini_batch_size=256 \\
      trainer.algorithm.policy_loss_type={loss} generator.n_samples_per_prompt=5 {more}
    """
OPENRLHF = """
    python3 -m openrlhf.cli.train_ppo_ray --train.async_enable --train.async_queue_size 1 \\
       --train.batch_size {update} --rollout.batch_size 128 --rollout.n_samples_per_prompt 8 \\
       --actor.eps_clip_low_high {clip} --actor.policy_loss_type {loss} {more}
    """
TIS = "trainer.algorithm.off_policy_correction.tis_ratio_type=token"
TIS_CAP = "trainer.algorithm.off_policy_correction.token_tis_ratio_clip_high"
GEO = "trainer.algorithm.off_policy_correction.geo_mask_high"
IS = "--algo.advantage.is_correction_enable"
IS_BAND = "--algo.advantage.is_correction_threshold"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SLIME.format(update=256, loss="gspo", clip="3e-4", more=""), {ONE, UNSEEN}),
        (SLIME.format(update=64, loss="gspo", clip="3e-4", more=""), {UNSEEN}),
        (SLIME.format(update=64, loss="gspo", clip="3e-4", more="--use-tis"), set()),
        (SLIME.format(update=256, loss="gspo", clip="3e-4", more="--use-rollout-logprobs"), {MISMATCH}),
        (SLIME.format(update=256, loss="gspo", clip="3e-4", more="--keep-old-actor"), set()),
        (SLIME.format(update=64, loss="gspo", clip="3e-4", more="--tis-clip 3"), {UNSEEN, IGNORED}),
        (SLIME.format(update=64, loss="gspo", clip="3e-4", more="--use-tis --tis-clip 0.5"), {BAND}),
        (
            SLIME.format(
                update=64, loss="gspo", clip="3e-4", more="--use-tis --tis-clip 0.5 --custom-tis-function-path x.y"
            ),
            set(),
        ),
        (SKYRL.format(loss="regular", more=""), {ONE, UNSEEN}),
        (SKYRL.format(loss="regular", more=TIS), {ONE}),
        (SKYRL.format(loss="rollout_is", more=""), set()),
        (SKYRL.format(loss="cispo", more="trainer.algorithm.cispo.cispo_anchor=rollout"), set()),
        (SKYRL.format(loss="cispo", more=TIS), {ONE}),
        (SKYRL.format(loss="rollout_is", more=f"{TIS_CAP}=3"), {IGNORED}),
        (SKYRL.format(loss="rollout_is", more=f"{TIS} {TIS_CAP}=0.3 {GEO}=1.1"), {IGNORED, BAND}),
        (OPENRLHF.format(update=1024, clip="0.2 0.27", loss="ppo", more=""), {ONE, UNSEEN}),
        (OPENRLHF.format(update=128, clip="0.2 0.27", loss="ppo", more=IS), set()),
        (OPENRLHF.format(update=128, clip="0.2 0.27", loss="ppo", more=f"{IS_BAND} 0.5 2.0"), {UNSEEN, IGNORED}),
        (OPENRLHF.format(update=128, clip="0.2 0.27", loss="ppo", more=f"{IS} {IS_BAND} 1.5 2.0"), {BAND}),
        (OPENRLHF.format(update=1024, clip="3e-4 4e-4", loss="gspo", more=IS), {MISMATCH}),
        (
            OPENRLHF.format(update=128, clip="3e-4 4e-4", loss="gspo", more=f"{IS} {IS_BAND} 0.5 2.0"),
            {MISMATCH, IGNORED},
        ),
    ],
)
def test_an_asynchronous_script(tmp_path, text, expected):
    assert set(seen(tmp_path, "run.sh", text)[1]) == expected


AREAL = """
    rollout: {{max_head_offpolicyness: {age}}}
    gconfig: {{n_samples: 4, temperature: 1.0}}
    train_dataset: {{batch_size: 256}}
    actor:
      eps_clip: {clip}
      temperature: ${{gconfig.temperature}}
      ppo_n_minibatches: {updates}
      {more}
    """
PROXIMAL = "use_decoupled_loss: true"


@pytest.mark.parametrize(
    ("age", "clip", "updates", "more", "expected"),
    [
        (2, 0.4, 1, PROXIMAL, {ONE}),
        (2, 0.4, 4, PROXIMAL, set()),
        (2, 0.4, 1, "recompute_logprob: true", {ONE, UNSEEN}),
        (0, 0.4, 4, "recompute_logprob: true", set()),
        (2, 0.4, 1, "kl_ctl: 0.0", set()),
        (2, 3e-4, 1, "importance_sampling_level: sequence", {MISMATCH}),
        (2, 3e-4, 4, f"importance_sampling_level: sequence\n      {PROXIMAL}", set()),
        (2, 0.4, 4, "rejection_sampling: {upper: 3.0}", {IGNORED}),
        (2, 0.4, 1, f"prox_logp_method: loglinear\n      {PROXIMAL}", set()),
    ],
)
def test_areal(tmp_path, age, clip, updates, more, expected):
    text = textwrap.dedent(AREAL).format(
        age=age, clip=clip, updates=updates, more=textwrap.dedent(more).replace("      ", "  ")
    )
    config, found = seen(tmp_path, "run.yaml", text)
    assert (config.trainer, set(found)) == ("areal", expected)


def test_prime_rl_masks_on_the_samplers_probabilities(tmp_path):
    text = "max_off_policy_steps = 8\n[orchestrator]\nbatch_size = 512\n[trainer.loss]\ndppo_mask_low = {low}\n"
    config, found = seen(tmp_path, "rl.toml", text.format(low=0.005))
    assert set(found) == {MISMATCH} and config["orchestrator.max_off_policy_steps"] == 8
    assert not seen(tmp_path, "rl.toml", text.format(low=0.2))[1]


# TRL

TRL_ASYNC = """
    from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer
    config = AsyncGRPOConfig("out", max_staleness=4, epsilon={epsilon}, epsilon_high=0.28, {more})
    AsyncGRPOTrainer(model="m", args=config).train()
    """


def test_trls_asynchronous_trainer(tmp_path):
    config, found = seen(tmp_path, "run.py", TRL_ASYNC.format(epsilon=0.2, more="max_steps=3"))
    assert (config.trainer, config["epsilon_high"], found) == ("trl-async", 0.28, {})
    assert set(seen(tmp_path, "run.py", TRL_ASYNC.format(epsilon=1e-3, more="top_p=0.9"))[1]) == {
        MISMATCH,
        "SAMPLING_CUT",
    }
    unseen_options = seen(tmp_path, "run.py", TRL_ASYNC.format(epsilon=1e-3, more="**options"))
    assert "top_p" in unseen_options[0].unknown and set(unseen_options[1]) == {MISMATCH}


def test_a_class_of_the_same_name_elsewhere_is_not_trls(tmp_path):
    with pytest.raises(ValueError, match="no GRPOConfig"):
        seen(tmp_path, "run.py", TRL_ASYNC.format(epsilon=0.2, more="").replace("trl.experimental", "nemo_rl"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("use_vllm=true", set()),
        ("use_vllm=true vllm_importance_sampling_clip_min=0.5", set()),
        ("use_vllm=true vllm_importance_sampling_clip_max=0.9", {BAND}),
        ("use_vllm=true vllm_importance_sampling_cap=0.9", {BAND}),
        ("use_vllm=true vllm_importance_sampling_clip_min=1.5", {BAND}),
        ("vllm_importance_sampling_clip_max=2", {IGNORED}),
        (
            "use_vllm=true vllm_importance_sampling_correction=false vllm_importance_sampling_mode=token_mask",
            {IGNORED, "VLLM_CORRECTION_OFF"},
        ),
        ("use_vllm=true vllm_importance_sampling_mode=token", {REFUSED}),
        ("use_vllm=true vllm_importance_sampling_clip_min=4", {REFUSED, BAND}),
        ("use_vllm=true loss_type=vespo", {REFUSED}),
        ("use_vllm=true loss_type=vespo vllm_importance_sampling_mode=token_mask", set()),
    ],
)
def test_trls_correction(tmp_path, words, expected):
    assert set(seen(tmp_path, "run.sh", f"trl grpo --num_iterations 2 --{words.replace(' ', ' --')}\n")[1]) == expected
