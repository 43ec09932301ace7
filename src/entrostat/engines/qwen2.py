"""Qwen2 and Llama as plain functions over a dict of weights, several sets of weights at once.

Left out: every other architecture, rope scaling, sliding windows, dropout, half precision. Logits equal Hugging Face's
(tests/engines/test_fast.py).

Notation: n sets of weights (runs), b sequences of each, s columns, m = n*b, h heads, w width of a head, v vocabulary.
Every weight has the run as its first dimension.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

KNOWN_TYPES = ("qwen2", "llama")
"""Architectures that `load_model` reads: they differ in the biases of the attention alone."""


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


def load_model(
    folder: Path | str, *, runs: int = 1, device: str | torch.device = "cpu"
) -> Model:
    """The model of a Hugging Face folder in float32, once for each of `runs`.

    Raises:
        ValueError: no config.json or safetensors file, an architecture that is not one of `KNOWN_TYPES`, or a setting
            of it that these functions do not have.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise ValueError(
            f"{folder} has no config.json with a .safetensors file beside it: give a model's folder"
        )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = _shape(config, folder)
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= load_file(file)
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    if config.get("tie_word_embeddings", True):
        del weights["lm_head.weight"]
    copies = {
        name: w.float().to(device).expand(runs, *w.shape).clone()
        for name, w in weights.items()
    }
    return Model(shape, {name: w.requires_grad_() for name, w in copies.items()})


def save_model(model: Model, run: int, folder: Path) -> None:
    """Writes one run's weights to folder/model.safetensors, under Hugging Face's names."""
    from safetensors.torch import save_file

    weights = {
        name: w[run].detach().cpu().contiguous() for name, w in model.weights.items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _shape(config: dict[str, Any], folder: Path) -> Shape:
    kind = config.get("model_type")
    if kind not in KNOWN_TYPES:
        raise ValueError(
            f"{folder} is a {kind} model; only {' and '.join(KNOWN_TYPES)} can be read here: choose one"
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if (
        config.get("hidden_act") != "silu"
        or config.get("mlp_bias")
        or rope.get("rope_type", "default") != "default"
    ):
        raise ValueError(
            f"{folder} has an activation, bias or rope scaling that is not known here: choose another model"
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


def _linear(
    model: Model, name: str, x: Float[Tensor, "n m i"]
) -> Float[Tensor, "n m o"]:
    weight, bias = model.weights[f"{name}.weight"], model.weights.get(f"{name}.bias")
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias[:, None], x, weight.mT)


def _norm(model: Model, name: str, x: Float[Tensor, "n m i"]) -> Float[Tensor, "n m i"]:
    scaled = F.rms_norm(x, x.shape[-1:], eps=model.shape.norm_epsilon)
    return scaled * model.weights[f"{name}.weight"][:, None]


def _rotary(model: Model, start: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine and sine (length, head width) of positions start, start + 1, ..., and the turn of `_rotated`."""
    width = model.shape.head_width
    powers = torch.arange(0, width, 2, device=model.device).float() / width
    positions = torch.arange(start, start + length, device=model.device).float()
    angles = positions[:, None] / model.shape.rope_theta**powers
    angles = torch.cat([angles, angles], dim=-1)
    one = torch.eye(width // 2, device=model.device)
    turn = torch.cat(
        [torch.cat([0 * one, one], dim=1), torch.cat([-one, 0 * one], dim=1)]
    )
    return angles.cos(), angles.sin(), turn


def _rotated(
    x: Float[Tensor, "c h s w"], rotary: tuple[Tensor, Tensor, Tensor]
) -> Float[Tensor, "c h s w"]:
    """With (x1, x2) the two halves of a head: x cos + (-x2, x1) sin. As a product with a matrix of 0, 1 and -1 the
    second term is exact too, and four times as fast as a copy of halves."""
    cos, sin, turn = rotary
    return x * cos + (x @ turn) * sin


class Cache:
    """Keys and values of each layer, (n*b, kv heads, room, head width); their first `length` columns are filled."""

    def __init__(self, shape: Shape, sequences: int, room: int, device: torch.device):
        size = (sequences, shape.kv_heads, room, shape.head_width)
        self.layers = [
            (torch.empty(size, device=device), torch.empty(size, device=device))
            for _ in range(shape.layers)
        ]
        self.length = 0

    def extended(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values so far, with `k` and `v` behind those of the columns before."""
        end = self.length + k.shape[2]
        for whole, new in zip(self.layers[layer], (k, v), strict=True):
            whole[:, :, self.length : end] = new
        keys, values = self.layers[layer]
        return keys[:, :, :end], values[:, :, :end]

    def repeated(self, runs: int, samples: int, room: int) -> "Cache":
        """The cache of `samples` completions of each prompt, with `room` columns more."""
        out = Cache.__new__(Cache)
        out.layers = [
            tuple(self._wide(x, runs, samples, room) for x in pair)
            for pair in self.layers
        ]
        out.length = self.length
        return out

    def _wide(self, x: Tensor, runs: int, samples: int, room: int) -> Tensor:
        wide = (
            x[:, :, : self.length]
            .unflatten(0, (runs, -1))
            .repeat_interleave(samples, dim=1)
            .flatten(0, 1)
        )
        return F.pad(wide, (0, 0, 0, room))


def forward(
    model: Model,
    ids: Int[Tensor, "n b s"],
    attention: Bool[Tensor, "m 1 s S"],
    *,
    keep: int,
    cache: Cache | None = None,
) -> Float[Tensor, "n b k v"]:
    """Logits at the last `keep` positions.

    Positions are counted from the first column, padding included: the rotary embedding knows only distances.

    Args:
        attention: which of the S keys (those of `cache`, then those of `ids`) each query may see; m is n*b.
        cache: of the columns before `ids`; it gets those of `ids` added. None: there are none, and none are kept.
    """
    shape = model.shape
    n, b, s = ids.shape
    rotary = _rotary(model, cache.length if cache else 0, s)
    embedding = model.weights["model.embed_tokens.weight"]
    rows = torch.arange(n, device=ids.device)[:, None]
    x = embedding[rows, ids.reshape(n, b * s)]
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        h = _norm(model, f"{name}.input_layernorm", x)
        k, v = (
            _heads(_linear(model, f"{name}.self_attn.{part}_proj", h), n * b, shape)
            for part in "kv"
        )
        k = _rotated(k, rotary)
        if cache:
            k, v = cache.extended(layer, k, v)
        last = layer == shape.layers - 1
        if (
            last and keep < s
        ):  # above its keys and values, the last layer is wanted at these positions alone
            x, h = (_tail(y, n, b, keep) for y in (x, h))
            rotary, attention = (
                (rotary[0][-keep:], rotary[1][-keep:], rotary[2]),
                attention[:, :, -keep:],
            )
        q = _rotated(
            _heads(_linear(model, f"{name}.self_attn.q_proj", h), n * b, shape), rotary
        )
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=attention, enable_gqa=shape.heads != shape.kv_heads
        )
        x = x + _linear(
            model,
            f"{name}.self_attn.o_proj",
            mixed.transpose(1, 2).reshape(n, -1, q.shape[1] * q.shape[3]),
        )
        h = _norm(model, f"{name}.post_attention_layernorm", x)
        gate, up = (
            _linear(model, f"{name}.mlp.{part}_proj", h) for part in ("gate", "up")
        )
        x = x + _linear(model, f"{name}.mlp.down_proj", F.silu(gate) * up)
    if cache:
        cache.length += s
    head = "lm_head" if "lm_head.weight" in model.weights else "model.embed_tokens"
    return _linear(model, head, _norm(model, "model.norm", x)).view(n, b, keep, -1)


def _heads(
    x: Float[Tensor, "n m i"], sequences: int, shape: Shape
) -> Float[Tensor, "c h s w"]:
    return x.reshape(
        sequences, -1, x.shape[-1] // shape.head_width, shape.head_width
    ).transpose(1, 2)


def _tail(
    x: Float[Tensor, "n m i"], n: int, b: int, keep: int
) -> Float[Tensor, "n k i"]:
    return x.view(n, b, -1, x.shape[-1])[:, :, -keep:].reshape(n, b * keep, -1)


def causal(prompt_mask: Bool[Tensor, "n b p"], width: int) -> Bool[Tensor, "m 1 s s"]:
    """Which keys each query sees: those before it that are not padding, and itself."""
    n, b, p = prompt_mask.shape
    real = F.pad(prompt_mask.reshape(n * b, p), (0, width), value=True)
    length = p + width
    itself = torch.eye(length, dtype=torch.bool, device=real.device)
    before = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    return ((before & real[:, None]) | itself)[:, None]
