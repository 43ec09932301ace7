#!/usr/bin/env bash
# GRPO on a 7B model; clip-higher was meant to keep entropy up
set -x
BATCH=${BATCH:-512}
MODEL=${MODEL:-Qwen/Qwen2.5-7B}
CLIP="actor_rollout_ref.actor.clip_ratio_low=0.2 actor_rollout_ref.actor.clip_ratio_high=0.28"

python3 -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    data.train_batch_size=$BATCH \
    actor_rollout_ref.model.path=$MODEL \
    actor_rollout_ref.actor.ppo_mini_batch_size=$BATCH \
    actor_rollout_ref.actor.optim.lr=3e-6 \
    actor_rollout_ref.rollout.n=8 $CLIP
