"""A rollout by transformers in a CPU Ray actor, for tests alone: rollout.name=hf_cpu, in both of verl's registries.

Worker side: the adapter that hands new weights on. Driver side: the server's life cycle.
"""

import ray
import torch
from verl.workers.rollout import base as rollout_base
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

SERVER_NAME = "hf_cpu_server_{}"


class ServerAdapter(BaseRollout):
    """Lives in the actor worker; verl calls it from ActorRolloutRefWorker.update_weights."""

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, global_steps=None, **kwargs):
        state = {k: v.detach().float().cpu().clone() for k, v in weights}  # every rank must drain the generator
        if torch.distributed.get_rank() == 0:
            i = 0
            while True:
                try:
                    server = ray.get_actor(SERVER_NAME.format(i))
                except ValueError:
                    break
                await server.load_weights.remote(state, global_steps)
                i += 1


class HFServer:
    def __init__(self, model_path, seed, max_new):
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(model_path, torch_dtype=torch.float32).eval()
        self.eos = self.model.config.eos_token_id
        self.seed, self.max_new, self.seen = seed, max_new, {}
        self.global_steps = 0

    async def load_weights(self, state, global_steps):
        missing = self.model.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys, missing
        self.global_steps = global_steps

    async def generate(self, request_id, prompt_ids, sampling_params, **kwargs):
        return self._generate(prompt_ids, sampling_params)  # decorating the coroutine itself breaks Ray's detection

    @torch.no_grad()
    def _generate(self, prompt_ids, sampling_params):
        temp = sampling_params.get("temperature", 1.0)
        ids, out, lps = list(prompt_ids), [], []
        # seed from (weights version, prompt, k-th copy of it): the same samples whatever the request order
        key = (self.global_steps or 0, tuple(prompt_ids))
        k = self.seen[key] = self.seen.get(key, 0) + 1
        gen = torch.Generator().manual_seed(hash((self.seed, k, *key)) % 2**31)  # hash of ints: stable across runs
        n = sampling_params.get("max_tokens") or sampling_params.get("max_new_tokens") or self.max_new
        for _ in range(n):
            logits = self.model(torch.tensor([ids])).logits[0, -1]
            lp = torch.log_softmax(logits / (temp or 1.0), -1)
            tok = int(lp.argmax()) if not temp else int(torch.multinomial(lp.exp(), 1, generator=gen))
            out.append(tok)
            lps.append(float(lp[tok]))
            ids.append(tok)
            if tok == self.eos:
                break
        extra = {"global_steps": self.global_steps}
        return TokenOutput(token_ids=out, log_probs=lps, stop_reason="completed", extra_fields=extra)

    async def wake_up(self, tags=None):
        pass

    async def sleep(self):
        pass

    async def clear_kv_cache(self):
        pass

    async def abort_all_requests(self, reject_request=False):
        pass

    async def resume_generation(self):
        pass


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
