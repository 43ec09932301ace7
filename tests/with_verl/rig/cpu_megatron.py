"""verl's Megatron engine on a CPU with gloo: python cpu_megatron.py JOB.json, one process per rank, without Ray.

JOB.json: {"model", "out", "layouts": [[tensor, pipeline], ...], "overrides", "state"}. Each layout starts from the same
weights, and makes four updates on the same batch; what is left of four ranks is data parallel. out-rankN.pt holds, by
layout, the metrics that verl would send to its driver (None where it takes none from this rank), and what each loss
call was given.

Real are Megatron-Core's groups, tensor-parallel layers, pipeline schedule and its messages, and verl's worker and
engine with its log-probabilities over a split vocabulary. Ours are the model's construction (verl's goes through
TransformerEngine, which is CUDA), its weights, and a plain SGD: Megatron's optimizers ask for CUDA tensors.
"""

import contextlib
import json
import os
import sys
import zlib

import torch
import torch.overrides
from settings import ACTOR
from update_actor import MINI, Shape, batch, free_port

RANKS = 4
SHAPE = Shape()
WIDTH, HEADS, LAYERS, VOCABULARY = 32, 4, 2, 260


class Here(torch.overrides.TorchFunctionMode):
    """What is made on CUDA is made here."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if str(kwargs.get("device")).startswith("cuda"):
            kwargs = kwargs | {"device": "cpu"}
        return func(*args, **kwargs)


class NoDice:
    """There is no dropout, so nothing is drawn while the model runs."""

    fork = staticmethod(contextlib.nullcontext)


def on_a_cpu():
    """Megatron-Core names CUDA for its tensors and random states, whatever the backend."""
    from megatron.core.tensor_parallel import random
    from verl.workers.engine.megatron import transformer_impl

    Here().__enter__()
    torch.cuda.current_device = lambda: torch.device("cpu")
    torch.cuda.synchronize = lambda *args, **kwargs: None
    random.initialize_rng_tracker()
    random._CUDA_RNG_STATE_TRACKER = NoDice
    transformer_impl.set_random_seed = lambda seed: torch.manual_seed(seed)


def build_here():
    """verl's engine gets a model and an optimizer of ours."""
    from megatron.core import parallel_state as mpu
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig
    from verl.workers.engine.megatron.transformer_impl import MegatronEngineWithLMHead

    class Causal(GPTModel):
        def forward(self, *args, attention_mask=None, **kwargs):
            # verl's mask is one of TransformerEngine's; rows are padded on the right, which a causal mask covers
            return super().forward(*args, attention_mask=None, **kwargs)

        def zero_grad_buffer(self):
            self.zero_grad()

    class Sgd:
        def __init__(self, parameters):
            self.parameters = list(parameters)
            self.sgd = torch.optim.SGD(self.parameters, lr=0.05)

        def zero_grad(self):
            self.sgd.zero_grad()

        def step(self):
            for parameter in self.parameters:
                torch.distributed.all_reduce(parameter.grad, group=mpu.get_data_parallel_group())
                parameter.grad /= mpu.get_data_parallel_world_size()
            norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in self.parameters])
            self.sgd.step()
            return True, float(norm), 0

    def initialize(self):
        self.tf_config = TransformerConfig(
            num_layers=LAYERS,
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            tensor_model_parallel_size=mpu.get_tensor_model_parallel_world_size(),
            pipeline_model_parallel_size=mpu.get_pipeline_model_parallel_world_size(),
            pipeline_dtype=torch.float32,
            variable_seq_lengths=True,
            moe_token_dispatcher_type="alltoall",
            use_cpu_initialization=True,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            gradient_accumulation_fusion=False,
            masked_softmax_fusion=False,
            bias_dropout_fusion=False,
            batch_p2p_comm=False,
        )
        model = Causal(
            self.tf_config,
            get_gpt_layer_local_spec(normalization="LayerNorm"),
            vocab_size=VOCABULARY,
            max_sequence_length=64,
            pre_process=mpu.is_pipeline_first_stage(),
            post_process=mpu.is_pipeline_last_stage(),
            share_embeddings_and_output_weights=False,
            position_embedding_type="rope",
        )
        first = model.decoder.layers[0].layer_number - 1
        for name, parameter in model.named_parameters():
            fill(name.replace("layers.0.", f"layers.{first}.") if first else name, parameter)
        self.module = [model]
        self.optimizer = Sgd(model.parameters())

    MegatronEngineWithLMHead.initialize = initialize
    MegatronEngineWithLMHead.lr_scheduler_step = lambda self: 0.05


def fill(name, parameter):
    """The same weights whatever the layout: this rank's part of what the name alone decides."""
    from megatron.core import parallel_state as mpu

    shape, parts = list(parameter.shape), 1
    if getattr(parameter, "tensor_model_parallel", False):
        parts = mpu.get_tensor_model_parallel_world_size()
        shape[parameter.partition_dim] *= parts
    draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    whole = torch.randn(shape, generator=draw) * 0.2
    if "layernorm" in name and name.endswith("weight"):
        whole += 1
    if parts > 1:
        whole = whole.chunk(parts, parameter.partition_dim)[mpu.get_tensor_model_parallel_rank()]
    with torch.no_grad():
        parameter.copy_(whole)


def config_of(job, tensor, pipeline):
    from hydra import compose, initialize_config_module

    megatron = f"{ACTOR}.megatron"
    fixed = [
        "model_engine=megatron",
        f"actor_rollout_ref.model.path={job['model']}",
        "actor_rollout_ref.model.use_remove_padding=False",
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        f"{megatron}.tensor_model_parallel_size={tensor}",
        f"{megatron}.pipeline_model_parallel_size={pipeline}",
        f"{megatron}.sequence_parallel=False",
        f"{ACTOR}.calculate_entropy=True",
        f"{ACTOR}.ppo_mini_batch_size={SHAPE.mini}",
        f"{ACTOR}.ppo_micro_batch_size_per_gpu=1",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
        "actor_rollout_ref.rollout.name=hf",
        f"{ACTOR}.optim.total_training_steps=10",
        "trainer.device=cpu",
    ]
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=[*fixed, *job["overrides"]])


def whole_batch():
    """The same columns in each layout, off-policy, in whole mini-batches whatever the data-parallel size."""
    data = batch(SHAPE)
    draw = torch.Generator().manual_seed(3)
    mask = data.batch["response_mask"]
    data.batch["old_log_probs"] = (-torch.rand(mask.shape, generator=draw) * 5 - 3.5) * mask
    data.batch["entropy"] = (5.0 + torch.rand(mask.shape, generator=draw) * 0.2) * mask
    return data


def run(job, tensor, pipeline):
    """One layout on this rank: what verl's worker returns, and the loss calls."""
    from megatron.core import parallel_state as mpu
    from verl.utils import tensordict_utils as tu
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.engine_workers import ActorRolloutRefWorker
    from verl.workers.utils.padding import left_right_2_no_padding

    from entrostat.engines.verl.loss import KEY, ControlledLoss, MicroBatch

    config = config_of(job, tensor, pipeline)
    worker = ActorRolloutRefWorker(config=config.actor_rollout_ref, role="actor")
    worker.init_model()
    worker.set_loss_fn(ControlledLoss(omega_conf_to_dataclass(config.actor_rollout_ref.actor), None))
    replica, replicas = mpu.get_data_parallel_rank(), mpu.get_data_parallel_world_size()
    # in each mini-batch a replica has its share, as after verl's dispatch with shuffling off
    rows = [
        row
        for start in range(0, SHAPE.rows, MINI)
        for row in range(start + replica * MINI // replicas, start + (replica + 1) * MINI // replicas)
    ]
    data = left_right_2_no_padding(whole_batch()[rows].to_tensordict())
    told = {"state": job["state"], "step": 0, "dump": 0}
    settings = {"calculate_entropy": True, "epochs": 2, "seed": 42, "dataloader_kwargs": {"shuffle": False}}
    settings |= {"global_batch_size": MINI, "mini_batch_size": MINI, "compute_loss": True, KEY: json.dumps(told)}
    tu.assign_non_tensor(data, temperature=1.0, **settings)
    seen, stock = [], MicroBatch.set_bounds

    def recording(self, old_logprobs, advantages, mask):
        bounds = stock(self, old_logprobs, advantages, mask)
        call = {"old": old_logprobs, "entropy": self.old_entropy, "advantages": advantages, "mask": mask}
        seen.append(call | {"bounds": bounds})
        return bounds

    MicroBatch.set_bounds = recording
    try:
        said = worker.update_actor(data)
    finally:
        MicroBatch.set_bounds = stock
        mpu.destroy_model_parallel()
    metrics = None if said is None else dict(tu.get(said, "metrics"))
    return {"metrics": metrics, "seen": seen}


def rank_main(rank, job, port):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(RANKS), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(RANKS))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    import verl  # noqa: F401  (the platform, and the plug-in)

    torch.set_num_threads(1)
    on_a_cpu()
    build_here()
    out = {f"{tensor}x{pipeline}": run(job, tensor, pipeline) for tensor, pipeline in job["layouts"]}
    torch.save(out, f"{job['out']}-rank{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        given = json.load(file)
    torch.multiprocessing.spawn(rank_main, args=(given, free_port()), nprocs=RANKS)
