"""Qwen2 and Llama as plain functions over a dict of weights, several sets of weights at
once.

Left out: every other architecture, rope scaling, sliding windows, dropout, half
precision. Logits equal Hugging Face's (tests/engines/test_fast.py).

Notation: n sets of weights (runs), b sequences of each, s columns, m = n*b, h heads, w
width of a head, v vocabulary. Every weight has the run as its first dimension.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

KNOWN_TYPES = ("qwen2", "llama")
"""Architectures that `load_model` reads: they differ in the biases of the attention
alone."""


class Shape(NamedTuple):
    """What a model's config.json says of its form."""

    layers: int
    heads: int
    kv_heads: int
    head_width: int
    rope_theta: float
    norm_epsilon: float
    ends: tuple[int, ...]
    """Ids that end a text."""
    pad: int


class Model(NamedTuple):
    """A form and its weights, by Hugging Face's names, each (n ...)."""

    shape: Shape
    weights: dict[str, Tensor]

    @property
    def runs(self) -> int:
        return len(self.weights["model.norm.weight"])

    @property
    def device(self) -> torch.device:
        return self.weights["model.norm.weight"].device


# Files


def load_model(
    folder: Path | str, *, runs: int = 1, device: str | torch.device = "cpu"
) -> Model:
    """The model of a Hugging Face folder in float32, once for each of `runs`.

    Raises:
        ValueError: no config.json or safetensors file, an architecture that is not one of
            `KNOWN_TYPES`, or a setting of it that these functions do not have.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise ValueError(
            f"{folder} has no config.json with a .safetensors file beside it: give a "
            "model's folder"
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = _shape(config, folder)
    saved: dict[str, Tensor] = {}
    for file in files:
        saved |= load_file(file)
    if config.get("tie_word_embeddings", True):
        # `forward` takes the embedding where there is no head
        saved.pop("lm_head.weight", None)
    elif "lm_head.weight" not in saved:
        saved["lm_head.weight"] = saved["model.embed_tokens.weight"]
    weights = {}
    for name, weight in saved.items():
        copies = weight.float().to(device).expand(runs, *weight.shape)
        weights[name] = copies.clone().requires_grad_()
    return Model(shape, weights)


def save_model(model: Model, run: int, folder: Path) -> None:
    """Writes one run's weights to folder/model.safetensors, under Hugging Face's names."""
    from safetensors.torch import save_file

    weights = {}
    for name, weight in model.weights.items():
        weights[name] = weight[run].detach().cpu().contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _shape(config: dict[str, Any], folder: Path) -> Shape:
    kind = config.get("model_type")
    if kind not in KNOWN_TYPES:
        raise ValueError(
            f"{folder} is a {kind} model; only {' and '.join(KNOWN_TYPES)} can be read "
            "here: choose one"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    plain_rope = rope.get("rope_type", "default") == "default"
    if config.get("hidden_act") != "silu" or config.get("mlp_bias") or not plain_rope:
        raise ValueError(
            f"{folder} has an activation, bias or rope scaling that is not known here: "
            "choose another model"
        )
    heads = config["num_attention_heads"]
    ends = config["eos_token_id"]
    return Shape(
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config["num_key_value_heads"],
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        rope_theta=rope.get("rope_theta") or config.get("rope_theta", 10000.0),
        norm_epsilon=config["rms_norm_eps"],
        ends=tuple(ends) if isinstance(ends, list) else (ends,),
        pad=config.get("pad_token_id") or 0,
    )


# The parts of a layer


def _linear(
    model: Model, name: str, x: Float[Tensor, "n m i"]
) -> Float[Tensor, "n m o"]:
    weight = model.weights[f"{name}.weight"]
    bias = model.weights.get(f"{name}.bias")
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias[:, None], x, weight.mT)


def _norm(model: Model, name: str, x: Float[Tensor, "n m i"]) -> Float[Tensor, "n m i"]:
    scaled = F.rms_norm(x, x.shape[-1:], eps=model.shape.norm_epsilon)
    return scaled * model.weights[f"{name}.weight"][:, None]


class Rotary(NamedTuple):
    """The rotary embedding at s columns (arXiv 2104.09864)."""

    cos: Float[Tensor, "s w"]
    sin: Float[Tensor, "s w"]
    turn: Float[Tensor, "w w"]
    """Takes (x1, x2), the two halves of a head, to (-x2, x1)."""

    def applied(self, x: Float[Tensor, "m h s w"]) -> Float[Tensor, "m h s w"]:
        """x cos + (-x2, x1) sin. As a product with a matrix of 0, 1 and -1 the second
        term is exact too, and four times as fast as a copy of halves."""
        return x * self.cos + (x @ self.turn) * self.sin

    def last(self, columns: int) -> "Rotary":
        """That of the last columns alone."""
        return Rotary(self.cos[-columns:], self.sin[-columns:], self.turn)


def _rotary(model: Model, start: int, length: int) -> Rotary:
    """For the positions start, start + 1, ..."""
    width, device = model.shape.head_width, model.device
    powers = torch.arange(0, width, 2, device=device).float() / width
    positions = torch.arange(start, start + length, device=device).float()
    angles = positions[:, None] / model.shape.rope_theta**powers
    angles = torch.cat([angles, angles], dim=-1)
    one = torch.eye(width // 2, device=device)
    zero = torch.zeros_like(one)
    upper, lower = torch.cat([zero, one], dim=1), torch.cat([-one, zero], dim=1)
    return Rotary(angles.cos(), angles.sin(), torch.cat([upper, lower]))


def _heads(
    model: Model, x: Float[Tensor, "n c i"], sequences: int
) -> Float[Tensor, "m h s w"]:
    width = model.shape.head_width
    heads = x.shape[-1] // width
    return x.reshape(sequences, -1, heads, width).transpose(1, 2)


def _last_columns(
    x: Float[Tensor, "n c i"], columns: int, keep: int
) -> Float[Tensor, "n k i"]:
    """The last `keep` of each sequence's columns."""
    per_sequence = x.unflatten(1, (-1, columns))
    return per_sequence[:, :, -keep:].flatten(1, 2)


class Cache:
    """Keys and values of each layer; their first `length` columns are filled.

    (m, kv heads, room, head width) each.
    """

    def __init__(self, layers: list[tuple[Tensor, Tensor]], length: int):
        self.layers = layers
        self.length = length

    @classmethod
    def empty(cls, model: Model, sequences: int, room: int) -> "Cache":
        """A cache for `sequences` of all runs together, with `room` columns each."""
        shape = model.shape
        size = (sequences, shape.kv_heads, room, shape.head_width)
        layers = []
        for _ in range(shape.layers):
            keys = torch.empty(size, device=model.device)
            layers.append((keys, torch.empty_like(keys)))
        return cls(layers, 0)

    def extended(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values so far, with `k` and `v` behind those of the columns
        before."""
        keys, values = self.layers[layer]
        end = self.length + k.shape[2]
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]

    def repeated(self, runs: int, samples: int, room: int) -> "Cache":
        """The cache of `samples` completions of each prompt, with `room` columns more."""

        def wide(x: Tensor) -> Tensor:
            by_run = x[:, :, : self.length].unflatten(0, (runs, -1))
            sequences = by_run.repeat_interleave(samples, dim=1).flatten(0, 1)
            return F.pad(sequences, (0, 0, 0, room))

        layers = [(wide(keys), wide(values)) for keys, values in self.layers]
        return Cache(layers, self.length)


# The model


def forward(
    model: Model,
    ids: Int[Tensor, "n b s"],
    attention: Bool[Tensor, "m 1 s S"],
    *,
    keep: int,
    cache: Cache | None = None,
) -> Float[Tensor, "n b k v"]:
    """Logits at the last `keep` positions.

    Positions are counted from the first column, padding included: the rotary embedding
    knows only distances.

    Args:
        attention: which of the S keys (those of `cache`, then those of `ids`) each query
            may see; m is n*b.
        cache: of the columns before `ids`; it gets those of `ids` added. None: there are
            none, and none are kept.
    """
    n, b, s = ids.shape
    start = 0 if cache is None else cache.length
    rotary = _rotary(model, start, s)
    runs = torch.arange(n, device=ids.device)[:, None]
    x = model.weights["model.embed_tokens.weight"][runs, ids.reshape(n, b * s)]
    for layer in range(model.shape.layers):
        # the last layer is wanted at these positions alone
        wanted = keep if layer == model.shape.layers - 1 else s
        x = _layer(model, layer, x, attention, rotary, wanted, cache)
    if cache is not None:
        cache.length += s
    x = _norm(model, "model.norm", x)
    head = "lm_head" if "lm_head.weight" in model.weights else "model.embed_tokens"
    return _linear(model, head, x).view(n, b, keep, -1)


def _layer(
    model: Model,
    layer: int,
    x: Float[Tensor, "n c i"],
    attention: Bool[Tensor, "m 1 s S"],
    rotary: Rotary,
    wanted: int,
    cache: Cache | None,
) -> Float[Tensor, "n k i"]:
    """One layer, at each sequence's last `wanted` columns; c = b*s columns go in."""
    name = f"model.layers.{layer}"
    m, _, s, _ = attention.shape
    h = _norm(model, f"{name}.input_layernorm", x)
    # keys and values are of all columns, whatever is wanted
    k = _heads(model, _linear(model, f"{name}.self_attn.k_proj", h), m)
    v = _heads(model, _linear(model, f"{name}.self_attn.v_proj", h), m)
    k = rotary.applied(k)
    if cache is not None:
        k, v = cache.extended(layer, k, v)
    if wanted < s:
        x, h = _last_columns(x, s, wanted), _last_columns(h, s, wanted)
        rotary, attention = rotary.last(wanted), attention[:, :, -wanted:]
    q = _heads(model, _linear(model, f"{name}.self_attn.q_proj", h), m)
    grouped = model.shape.heads != model.shape.kv_heads
    mixed = F.scaled_dot_product_attention(
        rotary.applied(q), k, v, attn_mask=attention, enable_gqa=grouped
    )
    joined = mixed.transpose(1, 2).reshape(*x.shape[:2], -1)
    x = x + _linear(model, f"{name}.self_attn.o_proj", joined)
    h = _norm(model, f"{name}.post_attention_layernorm", x)
    gate = _linear(model, f"{name}.mlp.gate_proj", h)
    up = _linear(model, f"{name}.mlp.up_proj", h)
    return x + _linear(model, f"{name}.mlp.down_proj", F.silu(gate) * up)


def causal(prompt_mask: Bool[Tensor, "n b p"], width: int) -> Bool[Tensor, "m 1 s s"]:
    """Which keys each query sees: those before it that are not padding, and itself.

    A padded query would see nothing otherwise, and its softmax would be NaN.
    """
    n, b, p = prompt_mask.shape
    real = F.pad(prompt_mask.reshape(n * b, p), (0, width), value=True)
    length = p + width
    square = torch.ones(length, length, dtype=torch.bool, device=real.device)
    before = square.tril()
    itself = torch.eye(length, dtype=torch.bool, device=real.device)
    return ((before & real[:, None]) | itself)[:, None]
