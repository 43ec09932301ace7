"""A checkpoint engine through a file, for tests alone: the way of weights from trainers to servers of their own.

checkpoint_engine.backend=cpu_file, checkpoint_engine.custom_backend_module=cpu_weights, which verl imports itself.
"""

import asyncio
import tempfile
import uuid
from pathlib import Path

import torch
from verl.checkpoint_engine.base import CheckpointEngine, CheckpointEngineRegistry


@CheckpointEngineRegistry.register("cpu_file")
class FileCheckpointEngine(CheckpointEngine):
    def __init__(self, bucket_size, is_master=False):
        self.is_master = is_master

    def prepare(self):
        return str(Path(tempfile.gettempdir()) / f"rig-weights-{uuid.uuid4()}.pt")

    @classmethod
    def build_topology(cls, actors, rollouts, metadata):
        return {"path": metadata[:1] * actors}, {"path": metadata[:1] * rollouts}

    def init_process_group(self, path):
        self.path = Path(path)

    async def send_weights(self, weights, global_steps=None):
        state = {name: weight.detach().clone() for name, weight in weights}  # every rank must drain the generator
        if self.is_master:
            part = self.path.with_suffix(".part")
            torch.save(state, part)
            part.rename(self.path)

    async def receive_weights(self, global_steps=None):
        while not self.path.exists():
            await asyncio.sleep(0.05)
        for item in torch.load(self.path).items():
            yield item

    def finalize(self):
        if self.is_master:
            self.path.unlink()
