"""A rollout by transformers in a CPU Ray actor, for tests alone: rollout.name=hf_cpu, in both of verl's registries.

Worker side: the adapter that hands new weights on. Driver side: the server's life cycle. An interrupted request comes
back with what there is of it, as vLLM's does, and verl's client asks for the rest of it later.
"""

import asyncio

import ray
import torch
from verl.workers.rollout import base as rollout_base
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput
from verl.workers.rollout.utils import ensure_async_iterator

SERVER_NAME = "hf_cpu_server_{}"


class ServerAdapter(BaseRollout):
    """Lives in the actor worker, or beside a server of its own, whose `replica_rank` it is given."""

    def __init__(self, *args, replica_rank=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.replica_rank = replica_rank

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, global_steps=None, **kwargs):
        # every rank must drain the generator
        state = {k: v.detach().float().cpu().clone() async for k, v in ensure_async_iterator(weights)}
        if torch.distributed.get_rank() == 0:
            servers = [self.replica_rank]
            if self.replica_rank is None:
                servers = range(torch.distributed.get_world_size() // self.config.tensor_model_parallel_size)
            for rank in servers:
                server = ray.get_actor(SERVER_NAME.format(rank))
                await server.load_weights.remote(state, global_steps)


class HFServer:
    def __init__(self, model_path, seed, max_new):
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(model_path, torch_dtype=torch.float32).eval()
        self.eos = self.model.config.eos_token_id
        self.seed, self.max_new, self.seen = seed, max_new, {}
        self.global_steps = 0
        self.open, self.leaves = asyncio.Event(), False
        self.open.set()

    async def load_weights(self, state, global_steps):
        missing = self.model.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys, missing
        self.global_steps = global_steps

    async def generate(self, request_id, prompt_ids, sampling_params, **kwargs):
        while not self.open.is_set():
            if self.leaves:
                extra = {"global_steps": self.global_steps}
                return TokenOutput(token_ids=[], log_probs=None, stop_reason="aborted", extra_fields=extra)
            await self.open.wait()
        temp = sampling_params.get("temperature", 1.0)
        ids, out, lps = list(prompt_ids), [], []
        # seed from (weights version, prompt, k-th copy of it): the same samples whatever the request order
        key = (self.global_steps or 0, tuple(prompt_ids))
        k = self.seen[key] = self.seen.get(key, 0) + 1
        gen = torch.Generator().manual_seed(hash((self.seed, k, *key)) % 2**31)  # hash of ints: stable across runs
        n = sampling_params.get("max_tokens") or sampling_params.get("max_new_tokens") or self.max_new
        version, stop_reason = self.global_steps, "completed"
        for _ in range(n):
            await asyncio.sleep(0)  # other requests, and an interruption
            if not self.open.is_set():
                stop_reason = "aborted"
                break
            lp = self._logprobs(ids, temp)
            tok = int(lp.argmax()) if not temp else int(torch.multinomial(lp.exp(), 1, generator=gen))
            out.append(tok)
            lps.append(float(lp[tok]))
            ids.append(tok)
            if tok == self.eos:
                break
        return TokenOutput(
            token_ids=out, log_probs=lps, stop_reason=stop_reason, extra_fields={"global_steps": version}
        )

    @torch.no_grad()
    def _logprobs(self, ids, temp):
        return torch.log_softmax(self.model(torch.tensor([ids])).logits[0, -1] / (temp or 1.0), -1)

    async def wake_up(self, tags=None):
        pass

    async def sleep(self):
        pass

    async def clear_kv_cache(self):
        pass

    async def release_kv_cache(self):
        pass

    async def resume_kv_cache(self):
        pass

    async def abort_all_requests(self, reject_request=False):
        self.leaves = reject_request
        self.open.clear()

    async def resume_generation(self):
        self.leaves = False
        self.open.set()


class HFReplica(RolloutReplica):
    async def launch_servers(self):
        path = self.model_config.path if hasattr(self.model_config, "path") else self.model_config["path"]
        actor = (
            ray.remote(HFServer)
            .options(name=SERVER_NAME.format(self.replica_rank), num_cpus=0)
            .remote(path, int(self.config.seed) + self.replica_rank, int(self.config.response_length))
        )
        await actor.sleep.remote()  # wait until it is up
        self.servers = [actor]
        self._server_handle = actor
        self._server_address = f"hf_cpu:{self.replica_rank}"


rollout_base._ROLLOUT_REGISTRY[("hf_cpu", "async")] = "cpu_rollout.ServerAdapter"
RolloutReplicaRegistry.register("hf_cpu", lambda: HFReplica)
