"""verl.trainer.main_ppo from end to end on a CPU: python main_ppo.py WORK RANKS [PPO] [overrides]

WORK gets the checkpoints (ckpt), verl's metrics (metrics.jsonl) and, with RIG_LOG set to it, what each rank did.
"""

import os
import sys
from pathlib import Path

from settings import ACTOR, FP32, HERE, model
from tiny_model import build


def data(path):
    import pandas

    def row(i):
        return {
            "data_source": "toy",
            "prompt": [{"role": "user", "content": f"{i % 10} + {(i * 3) % 10} = ?"}],
            "ability": "toy",
            "reward_model": {"style": "rule", "ground_truth": str((i + i * 3) % 10)},
            "extra_info": {"index": i},
        }

    pandas.DataFrame([row(i) for i in range(32)]).to_parquet(path)
    return path


def overrides(work, ranks):
    files = data(work / "toy.parquet")
    rollout = "actor_rollout_ref.rollout"
    return [
        *model(build(work / "model")),
        f"data.train_files={files}",
        f"data.val_files={files}",
        "data.train_batch_size=4",
        "data.val_batch_size=4",
        "data.val_max_samples=4",
        "data.max_prompt_length=64",
        "data.max_response_length=8",
        "data.dataloader_num_workers=0",
        "data.shuffle=False",
        f"{ACTOR}.ppo_mini_batch_size=2",
        f"{ACTOR}.ppo_micro_batch_size_per_gpu=2",
        f"{ACTOR}.ppo_epochs=2",
        f"{rollout}.name=hf_cpu",
        f"{rollout}.n=4",
        # one server, so that which samples a prompt gets hangs on no race
        f"{rollout}.tensor_model_parallel_size={ranks}",
        f"{rollout}.log_prob_micro_batch_size_per_gpu=4",
        f"{rollout}.agent.num_workers=1",
        f"{rollout}.dtype=float32",
        "reward.num_workers=1",
        f"reward.custom_reward_function.path={HERE}/reward.py",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        f"trainer.v1.sampler.custom_sampler.path={HERE}/sampler.py",
        "trainer.v1.sampler.custom_sampler.name=SortedReplayBuffer",
        f"trainer.n_gpus_per_node={ranks}",
        "trainer.nnodes=1",
        "trainer.logger=[file]",
        "trainer.val_before_train=False",
        "trainer.total_training_steps=2",
        "trainer.total_epochs=1",
        "trainer.save_freq=1",
        "trainer.test_freq=-1",
        f"trainer.default_local_dir={work}/ckpt",
        "trainer.resume_mode=auto",
        f"+ray_kwargs.ray_init.num_gpus={ranks}",
        "ray_kwargs.ray_init.num_cpus=16",
        "+ray_kwargs.ray_init.include_dashboard=False",
        f"hydra.run.dir={work}/hydra",
    ]


def critic(path):
    """PPO: verl's critic and GAE."""
    return [
        "algorithm.adv_estimator=gae",
        "critic.enable=True",
        f"critic.model.path={path}",
        "+critic.model.override_config.attn_implementation=sdpa",
        "critic.model.use_remove_padding=False",
        "critic.model.enable_gradient_checkpointing=False",
        "critic.strategy=fsdp2",
        f"+critic.fsdp.mixed_precision={FP32}",
        "critic.fsdp.use_torch_compile=False",
        "critic.ppo_mini_batch_size=2",
        "critic.ppo_micro_batch_size_per_gpu=2",
        "critic.ppo_epochs=2",
        "critic.optim.lr=1e-3",
    ]


if __name__ == "__main__":
    work, ranks = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    more = sys.argv[3:]
    work.mkdir(parents=True, exist_ok=True)
    chosen = overrides(work, ranks)
    if "PPO" in more:
        more.remove("PPO")
        chosen += critic(build(work / "critic", critic=True))
    else:
        chosen += ["algorithm.adv_estimator=grpo", "critic.enable=False"]
    sys.argv = ["main_ppo", *chosen, *more]
    os.environ["VERL_FILE_LOGGER_PATH"] = str(work / "metrics.jsonl")
    os.chdir(work)
    from verl.trainer import main_ppo

    main_ppo.main()
