"""Per-token bounds in prime-rl's own default loss, found by `import_path`. Signature and
loss are those of prime-rl 0.8.0.

    [trainer.loss]
    type = "custom"
    import_path = "entrostat.engines.prime_rl.policy_loss"

    [trainer.loss.kwargs]
    strategy = "clip-lower"
    low = 0.02

prime-rl's default loss is a mask on the change of probability, and over all trained
tokens, dropped ones too, kl_tau (ln r)^2. It runs with its two thresholds set to tensors,
so the mask, the KL term, the weights and the metrics are its own, and `strategy = "dppo"`
is that loss. A strategy's half-widths on the ratio times p_old are half-widths on p.

The hook sees one sequence: no step, no group, no entropy. The old policy is the one that
sampled it (`inference_logprobs`), several steps ago where the run is asynchronous.
Nothing observes, and no state has a place to live, since keyword arguments come from the
file. So only strategies that remember nothing work; the others are refused at the first
call.
"""

import functools
import importlib
from typing import Any

from entrostat.engines.hook import Hook
from entrostat.mask import over_probability
from entrostat.strategies import make_strategy

_TEMPERATURES = ("kl_tau", "adv_tau")
"""Keyword arguments that are prime-rl's."""


def policy_loss(inputs: Any, strategy: str, **options: Any) -> Any:
    """prime-rl's default loss of one sequence, its mask at the strategy's bounds.

    Args:
        inputs: prime-rl's LossInputs.
        strategy: a name of the registry.
        options: the strategy's, and prime-rl's kl_tau and adv_tau.

    Returns prime-rl's LossOutputs.

    Raises ValueError for an unknown strategy or option, and for a strategy that needs
    what the hook does not carry.
    """
    theirs = {name: options.pop(name) for name in _TEMPERATURES if name in options}
    hook = _hook(strategy, **options)
    mask = inputs.loss_mask[None]
    old = inputs.inference_logprobs[None]
    on_ratio = hook.bounds(old, inputs.advantages[None], mask)
    low, high = over_probability(on_ratio, old)
    # a copy that is not validated: its fields are numbers to pydantic
    config = (
        _configs()
        .DefaultLossConfig(**theirs)
        .model_copy(update={"dppo_mask_low": low[0], "dppo_mask_high": high[0]})
    )
    return _losses().default_loss_fn(inputs, config)


def _configs() -> Any:
    return importlib.import_module("prime_rl.configs.trainer")


def _losses() -> Any:
    return importlib.import_module("prime_rl.trainer.rl.loss")


@functools.cache
def _hook(name: str, **options: Any) -> Hook:
    """The strategy's hook, checked once and not at each sequence."""
    return Hook(make_strategy(name, **options), None, "prime-rl")
