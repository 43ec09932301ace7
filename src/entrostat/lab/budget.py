"""What a run takes on GPUs, on paper: memory of each and hours, by the formulas below. An
estimate, not a measurement.

Per device, D devices, P parameters, w bytes of a computed number (2 in bf16, 4 in
float32), B sequences of S tokens at once, h hidden, L layers, V vocabulary. Sharded
(ZeRO-3, FSDP2) divides the first three rows by D:

    weights       4 P        the lab keeps them in float32
    gradients     4 T        T: trained parameters, P or those of the adapters
    AdamW         8 T        two moments in float32
    gathered      2 w max(layer)
                             sharded alone: the layer at work and the next one
    activations   w B S h L + 2 w B S A
                             checkpointed: the input of each layer, and one layer made
                             again with its gradients; A = 8 h + 2 kv + 4 mlp numbers per
                             token. Else w B S A L
    LM head       8 V h + 2 w 4096 x 32768 + 4 B S h
                             TRL's fused head: whole weight and its gradient in float32,
                             two tiles of logits, the gradient of the hidden states. No
                             full logits
    vLLM          its share of the device, beside the rest; asleep during updates if it is
                  told to be
    other         3 GB       context, communication, fragments

Seconds per rollout of N tokens (prompts and completions):

    trainer       (2 + 8) P N floating-point operations with checkpointing (the pass for
                  the old policy, then 6 P N and the forward pass again), 2 less without it
                  and 2 less for adapters, at PEAK x MFU
    vLLM          each device has n completions of C tokens, c of them at once, as many as
                  its cache holds; each of the n C / c steps reads the weights in bf16 and
                  the cache of c, at BANDWIDTH x MBU; never less than 2 P N

Not counted: attention's own operations, loading, weight transfer to vLLM, rewards,
evaluation, stragglers.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

DEVICE_BYTES, PEAK, BANDWIDTH = 80e9, 312e12, 2.0e12
"""Of an A100 80GB by its data sheet: memory, bf16 operations a second, bytes a second."""
MFU, MBU, OTHER = 0.35, 0.5, 3e9
"""Assumed: shares of the two above that a run reaches, and bytes of what is not modelled."""
_TILE = 4096 * 32768
"""Logits that TRL 1.16 holds at once (trl/kernels/chunked_logprob.py, trl/trainer/utils.py)."""


class Shape(NamedTuple):
    """A decoder with gated MLPs and grouped attention, as its config.json gives it. Biases
    and norms are left out."""

    hidden: int
    layers: int
    mlp: int
    heads: int
    kv_heads: int
    head: int
    """Width of a head."""
    vocab: int
    tied: bool
    """The LM head is the embedding."""

    @property
    def queries(self) -> int:
        """Numbers per token of all heads' queries."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Numbers per token of all heads' keys; as many of their values."""
        return self.kv_heads * self.head

    @property
    def layer(self) -> int:
        """Parameters of a layer."""
        # queries and output, keys and values, the three matrices of a gated MLP
        return self.hidden * (2 * self.queries + 2 * self.keys + 3 * self.mlp)

    @property
    def embedding(self) -> int:
        """Parameters of the embedding."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All of them."""
        embeddings = 1 if self.tied else 2
        return self.layers * self.layer + embeddings * self.embedding

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA of that rank on every linear layer but the LM head."""
        # an adapter has `rank` rows on either side of its matrix
        widths = (
            2 * (self.hidden + self.queries)
            + 2 * (self.hidden + self.keys)
            + 3 * (self.hidden + self.mlp)
        )
        return self.layers * rank * widths


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "Qwen/Qwen2.5-1.5B-Instruct": Shape(1536, 28, 8960, 12, 2, 128, 151_936, True),
        "Qwen/Qwen2.5-3B-Instruct": Shape(2048, 36, 11_008, 16, 2, 128, 151_936, True),
        "Qwen/Qwen2.5-7B-Instruct": Shape(3584, 28, 18_944, 28, 4, 128, 152_064, False),
        "Qwen/Qwen2.5-7B": Shape(3584, 28, 18_944, 28, 4, 128, 152_064, False),
        "Qwen/Qwen2.5-Math-7B": Shape(3584, 28, 18_944, 28, 4, 128, 152_064, False),
    }
)
"""Of the recipes' models, by their config.json, for a machine without a hub."""


class Job(NamedTuple):
    """What of a run memory and time depend on."""

    devices: int
    rollouts: int
    completions: int
    """A rollout."""
    micro_batch: int
    """Sequences that a device trains on at once."""
    prompt: int
    """Tokens."""
    completion: int
    """Tokens at most."""
    sharded: bool = True
    bf16: bool = True
    checkpointing: bool = True
    vllm: float = 0.0
    """Share of a device that vLLM takes; 0 without it."""
    sleeps: bool = False
    """vLLM frees its share during updates."""
    lora: int = 0
    """Rank of the adapters; 0: all parameters are trained."""


def shape_of(config: Any) -> Shape:
    """The shape in a transformers config of Qwen2, Qwen3, Llama, OLMo-2 or their like.
    AttributeError for others'."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    return Shape(
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        mlp=text.intermediate_size,
        heads=heads,
        # without grouped attention each head has keys of its own
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocab=text.vocab_size,
        tied=bool(config.tie_word_embeddings),
    )


def memory(shape: Shape, job: Job) -> dict[str, float]:
    """Bytes of each term on one device, and "total": the most that is needed at one
    time."""
    width = 2 if job.bf16 else 4
    shards = job.devices if job.sharded else 1
    trained = shape.adapters(job.lora) if job.lora else shape.parameters
    # the base model stays beside its adapters
    kept = shape.parameters + trained if job.lora else shape.parameters
    tokens = job.micro_batch * (job.prompt + job.completion)
    terms = {
        "weights": 4 * kept / shards,
        "gradients": 4 * trained / shards,
        "AdamW": 8 * trained / shards,
        "gathered": 0.0,
        "activations": float(width * tokens * _activations(shape, job)),
        "LM head": 8.0 * shape.embedding
        + 2 * width * _TILE
        + 4 * tokens * shape.hidden,
        "vLLM": job.vllm * DEVICE_BYTES,
        "other": OTHER,
    }
    if shards > 1:
        terms["gathered"] = 2.0 * width * max(shape.layer, shape.embedding)
    updating = sum(terms.values())
    if job.sleeps:
        updating -= terms["vLLM"]
    generating = terms["weights"] + terms["AdamW"] + terms["vLLM"] + terms["other"]
    terms["total"] = max(updating, generating)
    return terms


def _activations(shape: Shape, job: Job) -> int:
    """Numbers per token that the backward pass needs."""
    of_a_layer = 8 * shape.hidden + 2 * shape.keys + 4 * shape.mlp
    if job.checkpointing:
        return shape.hidden * shape.layers + 2 * of_a_layer
    return of_a_layer * shape.layers


def hours(shape: Shape, job: Job, completion: float) -> dict[str, float] | None:
    """Hours of "generation", "training" and in "total", if completions have `completion`
    tokens on the mean.

    None where vLLM does not generate, which is not modelled, or where its share does not
    hold the weights and one sequence.
    """
    per_device = job.completions / job.devices
    # bytes per token: keys and values of all layers in bf16
    cache = 4 * shape.layers * shape.keys
    room = job.vllm * DEVICE_BYTES - 2 * shape.parameters
    held = math.floor(room / (cache * (job.prompt + completion)))
    at_once = min(per_device, held)
    if at_once < 1:
        return None
    tokens = job.completions * (job.prompt + completion)
    speed = job.devices * PEAK * MFU
    operations = 10
    if not job.checkpointing:
        operations -= 2
    if job.lora:
        operations -= 2
    training = operations * shape.parameters * tokens / speed
    # half of a completion is there on the mean
    read = 2 * shape.parameters + at_once * cache * (job.prompt + completion / 2)
    steps = per_device * completion / at_once
    generation = max(
        steps * read / (BANDWIDTH * MBU), 2 * shape.parameters * tokens / speed
    )
    total = {
        "generation": job.rollouts * generation / 3600,
        "training": job.rollouts * training / 3600,
    }
    total["total"] = total["generation"] + total["training"]
    return total
