"""Environment and Hydra overrides with which verl runs on a CPU, in float32, for runs that can be compared exactly."""

import os
from pathlib import Path

HERE = Path(__file__).parent
# not the current folder's: entrostat is what is installed
ENVIRONMENT = {
    "PYTHONPATH": str(HERE),
    "VERL_USE_EXTERNAL_MODULES": "cpu_platform,cpu_rollout",
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "RAY_DEDUP_LOGS": "0",
    # beside whatever else runs here Ray's own 15 would starve
    "RAY_worker_niceness": "0",
}
ACTOR = "actor_rollout_ref.actor"
MODE = "trainer.v1.trainer_mode=entrostat"
STEPS = "trainer.total_training_steps"
BYPASS = ("algorithm.rollout_correction.bypass_mode=true", "actor_rollout_ref.rollout.calculate_log_probs=True")
FP32 = "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}"


def environment(**more):
    return os.environ | ENVIRONMENT | more


def model(path):
    return [
        f"actor_rollout_ref.model.path={path}",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        "actor_rollout_ref.model.use_remove_padding=False",
        "actor_rollout_ref.model.enable_gradient_checkpointing=False",
        f"{ACTOR}.strategy=fsdp2",
        f"{ACTOR}.use_torch_compile=False",
        f"{ACTOR}.fsdp_config.use_torch_compile=False",
        f"+{ACTOR}.fsdp_config.mixed_precision={FP32}",
        f"{ACTOR}.calculate_entropy=True",
        # at 1e-2 everything is clipped in the second epoch, and any loss looks like any other
        f"{ACTOR}.optim.lr=1e-3",
        "trainer.device=cpu",
    ]


def ours(strategy, **options):
    """The lines that docs/engines.md gives."""
    loss = f"{ACTOR}.policy_loss"
    return [
        f"{loss}._target_=entrostat.engines.verl.config.EntrostatLossConfig",
        f"{loss}.loss_mode=entrostat",
        f"+{loss}.strategy={strategy}",
        *(f"+{loss}.options.{name}={value}" for name, value in options.items()),
    ]


def dynamic(tokens):
    """Micro-batches of at most so many tokens, however many rows that is."""
    rollout = "actor_rollout_ref.rollout"
    return [
        f"{ACTOR}.use_dynamic_bsz=True",
        f"{ACTOR}.ppo_max_token_len_per_gpu={tokens}",
        f"{rollout}.log_prob_use_dynamic_bsz=True",
        f"{rollout}.log_prob_max_token_len_per_gpu={tokens}",
    ]


def asynchronous(mode):
    """One of verl's asynchronous trainers under ours, on verl's own replay buffer."""
    sampler = "trainer.v1.sampler.custom_sampler"
    return [f"trainer.v1.trainer_mode=entrostat_{mode}", f"{sampler}.path=null", f"{sampler}.name=null"]


def separate(calls, ranks):
    """A server apart from the trainers, and so many update calls a step.

    With hybrid_engine=True the trainers' ranks would be servers too. verl 0.9.1 logs the other choice by
    `logger.info(..., flush=True)`, a TypeError, so VERL_LOGGING_LEVEL must be WARNING.
    """
    rollout = "actor_rollout_ref.rollout"
    return [
        *asynchronous("separate_async"),
        f"trainer.v1.separate_async.parameter_sync_step={calls}",
        "actor_rollout_ref.hybrid_engine=False",
        f"{rollout}.nnodes=1",
        f"{rollout}.n_gpus_per_node=1",
        f"{rollout}.tensor_model_parallel_size=1",
        f"{rollout}.checkpoint_engine.backend=cpu_file",
        f"{rollout}.checkpoint_engine.custom_backend_module=cpu_weights",
        f"++ray_kwargs.ray_init.num_gpus={ranks + 1}",
    ]
