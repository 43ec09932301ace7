"""A replay buffer that orders a batch by content, so that two runs see the same mini-batches bit by bit.

verl's uids are random and its order is that of arrival. Set by trainer.v1.sampler.custom_sampler.{path,name}.
"""

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


class SortedReplayBuffer(ReplayBuffer):
    def _materialize_batch(self, partition_id, selected_prompt_uids, partition_snapshot):
        batch = super()._materialize_batch(partition_id, selected_prompt_uids, partition_snapshot)
        names = ["prompts", "responses"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=partition_id, select_fields=names)
        rows = [(p.tolist(), r.tolist()) for p, r in zip(*(data[name].unbind() for name in names), strict=True)]
        batch.reorder(sorted(range(len(rows)), key=rows.__getitem__))
        return batch
