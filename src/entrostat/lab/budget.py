"""What a run takes on GPUs, on paper: memory of each and hours, by the formulas below. An estimate, not a measurement.

Per device, D devices, P parameters, w bytes of a computed number (2 in bf16, 4 in float32), B sequences of S tokens at
once, h hidden, L layers, V vocabulary. Sharded (ZeRO-3, FSDP2) divides the first three rows by D:

    weights       4 P                       the lab keeps them in float32
    gradients     4 T                       T: trained parameters, P or those of the adapters
    AdamW         8 T                       two moments in float32
    gathered      2 w max(layer)            sharded alone: the layer at work and the next one
    activations   w B S h L + 2 w B S A     checkpointed: the input of each layer, and one layer made again with its
                                            gradients; A = 8 h + 2 kv + 4 mlp numbers a token. Else w B S A L
    LM head       8 V h + 2 w 4096 x 32768 + 4 B S h     TRL's fused head: whole weight and its gradient in float32,
                                            two tiles of logits, the gradient of the hidden states. No full logits
    vLLM          its share of the device, beside the rest; asleep during updates if it is told to be
    other         3 GB                      context, communication, fragments

Seconds a rollout of N tokens (prompts and completions): trainer (2 + 8) P N floating-point operations with
checkpointing (the pass for the old policy, then 6 P N and the forward pass again), 2 less without it and 2 less for
adapters, at PEAK x MFU. vLLM: each device has n completions of C tokens, c of them at once, as many as its cache holds;
each of the n C / c steps reads the weights in bf16 and the cache of c, at BANDWIDTH x MBU; never less than 2 P N.
Not counted: attention's own operations, loading, weight transfer to vLLM, rewards, evaluation, stragglers.
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
    """A decoder with gated MLPs and grouped attention, as its config.json gives it. Biases and norms are left out."""

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
    def layer(self) -> int:
        """Parameters of a layer."""
        return self.hidden * (
            2 * self.heads * self.head + 2 * self.kv_heads * self.head + 3 * self.mlp
        )

    @property
    def embedding(self) -> int:
        """Parameters of the embedding."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.layer + self.embedding * (1 if self.tied else 2)

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA of that rank on every linear layer but the LM head."""
        q, kv = self.heads * self.head, self.kv_heads * self.head
        widths = (
            2 * (self.hidden + q)
            + 2 * (self.hidden + kv)
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
    """The shape in a transformers config of Qwen2, Qwen3, Llama, OLMo-2 or their like. AttributeError for others'."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    return Shape(
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        mlp=text.intermediate_size,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocab=text.vocab_size,
        tied=bool(config.tie_word_embeddings),
    )


def memory(shape: Shape, job: Job) -> dict[str, float]:
    """Bytes of each term on one device, and "total": the most that is needed at one time."""
    width = 2 if job.bf16 else 4
    shards = job.devices if job.sharded else 1
    trained = shape.adapters(job.lora) if job.lora else shape.parameters
    tokens = job.micro_batch * (job.prompt + job.completion)
    live = 8 * shape.hidden + 2 * shape.kv_heads * shape.head + 4 * shape.mlp
    kept = (
        (shape.hidden * shape.layers + 2 * live)
        if job.checkpointing
        else live * shape.layers
    )
    terms = {
        "weights": 4 * (shape.parameters + (trained if job.lora else 0)) / shards,
        "gradients": 4 * trained / shards,
        "AdamW": 8 * trained / shards,
        "gathered": 2.0 * width * max(shape.layer, shape.embedding)
        if shards > 1
        else 0.0,
        "activations": float(width * tokens * kept),
        "LM head": 8.0 * shape.embedding
        + 2 * width * _TILE
        + 4 * tokens * shape.hidden,
        "vLLM": job.vllm * DEVICE_BYTES,
        "other": OTHER,
    }
    updating = sum(terms.values()) - (terms["vLLM"] if job.sleeps else 0)
    generating = sum(terms[name] for name in ("weights", "AdamW", "vLLM", "other"))
    return {**terms, "total": max(updating, generating)}


def hours(shape: Shape, job: Job, completion: float) -> dict[str, float] | None:
    """Hours of "generation", "training" and in "total", if completions have `completion` tokens on the mean.

    None where vLLM does not generate, which is not modelled, or its share does not hold weights and one sequence.
    """
    n = job.completions / job.devices
    cache = 4 * shape.layers * shape.kv_heads * shape.head
    room = job.vllm * DEVICE_BYTES - 2 * shape.parameters
    at_once = min(n, math.floor(room / (cache * (job.prompt + completion))))
    if at_once < 1:
        return None
    tokens = job.completions * (job.prompt + completion)
    operations = 10 - (0 if job.checkpointing else 2) - (2 if job.lora else 0)
    speed = job.devices * PEAK * MFU
    training = operations * shape.parameters * tokens / speed
    read = 2 * shape.parameters + at_once * cache * (job.prompt + completion / 2)
    generation = max(
        n * completion / at_once * read / (BANDWIDTH * MBU),
        2 * shape.parameters * tokens / speed,
    )
    found = {
        "generation": job.rollouts * generation / 3600,
        "training": job.rollouts * training / 3600,
    }
    return {**found, "total": sum(found.values())}
