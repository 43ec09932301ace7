"""Dropout in the policy, which moves ratios without any learning.

TRL makes the pass for the old log-probabilities with dropout on, and each update's pass
with other units dropped. So the ratio of a token is not 1 before the first update, and a
tight window clips tokens at a learning rate of 0.
"""

from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from entrostat.engines.checks import always_fresh


def dropout_warning(args: Any, model: nn.Module) -> str | None:
    """One line for a model that drops units while it is trained; None for another, and
    where ratios are 1 whatever the model does.

    Args:
        args: a GRPOConfig.
    """
    layers, in_attention = _layers(model), _attributes(model)
    if always_fresh(args) or not (layers or in_attention):
        return None
    cures = []
    if layers:
        cures.append("set GRPOConfig(disable_dropout=True)")
    if in_attention:
        names = ", ".join(f"{name}=0.0" for name in in_attention)
        cures.append(
            f"load the model with {names}, which disable_dropout=True does not reach"
        )
    return (
        "the model has dropout on: two passes over a token differ, so the clip drops "
        f"tokens before anything is learned; {' and '.join(cures)}"
    )


def _layers(model: nn.Module) -> bool:
    """Whether there are layers of dropout. TRL's disable_dropout sets their p to 0."""
    return any(
        isinstance(module, _DropoutNd) and module.p > 0 for module in model.modules()
    )


def _attributes(model: nn.Module) -> list[str]:
    """Rates that modules hold as plain numbers, such as Qwen2's and Llama's
    `attention_dropout`: they hand them to the attention function."""
    names: set[str] = set()
    for module in model.modules():
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float) and value > 0:
                names.add(name)
    return sorted(names)
