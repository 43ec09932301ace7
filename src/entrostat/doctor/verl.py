"""verl's configuration, a YAML with overrides, and what in it does nothing. By verl 0.9.1's source.

verl need not be installed: the defaults of 0.9.1 are in verl-0.9.1.yaml. Where it is, its own are read, as a file.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from entrostat.doctor.finding import Finding, Found
from entrostat.doctor.read import Source, read_file, reason
from entrostat.doctor.settings import Kind, Settings, checked, near_name, short, shown
from entrostat.strategies import (
    STRATEGIES,
    Strategy,
    make_strategy,
    strategy_name,
)

DEFAULTS = Path(__file__).with_name("verl-0.9.1.yaml")
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
LOSS, CORRECTION = f"{ACTOR}.policy_loss", "algorithm.rollout_correction"

KINDS: Mapping[str, Kind] = {
    "data.train_batch_size": "count",
    f"{ACTOR}.ppo_mini_batch_size": "count",
    f"{ACTOR}.ppo_epochs": "count",
    f"{ACTOR}.clip_ratio": "number",
    f"{ACTOR}.clip_ratio_low": "number?",
    f"{ACTOR}.clip_ratio_high": "number?",
    f"{ACTOR}.clip_ratio_c": "number",
    f"{ACTOR}.tau_pos": "number",
    f"{ACTOR}.tau_neg": "number",
    f"{ACTOR}.loss_agg_mode": "word",
    f"{ACTOR}.entropy_coeff": "number",
    f"{LOSS}.loss_mode": "word",
    f"{LOSS}.strategy": "word?",
    f"{LOSS}.options": "options?",
    f"{LOSS}.clip_cov_ratio": "number?",
    f"{LOSS}.clip_cov_lb": "number?",
    f"{LOSS}.clip_cov_ub": "number?",
    f"{LOSS}.kl_cov_ratio": "number?",
    f"{LOSS}.ppo_kl_coef": "number?",
    f"{LOSS}.dro_beta": "number?",
    f"{ROLLOUT}.n": "count",
    f"{ROLLOUT}.temperature": "number",
    f"{ROLLOUT}.top_p": "number",
    f"{ROLLOUT}.top_k": "number",
    f"{CORRECTION}.bypass_mode": "flag",
}
"""The settings that the doctor reads."""

OPTION_KINDS: Mapping[type, Kind] = {float: "number", bool: "flag"}
"""What an option of a strategy must be, by the type of its default; others the strategy checks itself."""
PLUGIN = "entrostat"
"""Our loss mode in verl."""
WINDOW = ("clip_ratio", "clip_ratio_low", "clip_ratio_high")
READS: Mapping[str, tuple[str, ...]] = {
    "vanilla": (*WINDOW, "clip_ratio_c"),
    "dppo_tv": (*WINDOW, "clip_ratio_c"),
    "dppo_kl": (*WINDOW, "clip_ratio_c"),
    "gspo": WINDOW,
    "geo_mean": WINDOW,
    "cispo": WINDOW,
    "clip_cov": (
        *WINDOW,
        "policy_loss.clip_cov_ratio",
        "policy_loss.clip_cov_lb",
        "policy_loss.clip_cov_ub",
    ),
    "kl_cov": ("policy_loss.kl_cov_ratio", "policy_loss.ppo_kl_coef"),
    "sapo": ("tau_pos", "tau_neg"),
    "dro": ("policy_loss.dro_beta",),
    "gpg": (),
    PLUGIN: ("clip_ratio_c",),
}
"""The thresholds that each loss mode reads, under actor. A mode that is not here is somebody's own."""
THRESHOLDS = tuple(dict.fromkeys(name for names in READS.values() for name in names))
FRESH = frozenset({"gpg", "clip_cov"})
"""Loss modes that act at a ratio of 1: gpg has no ratio, clip_cov drops tokens by their covariance."""
NO_CAP = 1e6
"""verl cannot switch the dual clip off: a clip_ratio_c from here on is meant so."""
ENTROPY_IS: Mapping[str, str] = {
    "token-sum": "the sum over the batch's tokens",
    "seq-mean-token-sum": "nats a response, the sum over its tokens",
    "seq-mean-token-mean": "a mean of responses' means, where short responses count as much as long ones",
    "seq-mean-token-sum-norm": "the sum over a response's tokens, divided by the longest length",
}
"""What actor/entropy is under each loss_agg_mode but token-mean."""
FREE = frozenset({"defaults", "hydra", "model_engine"})
"""Names at the top that are Hydra's."""


def sections() -> set[str]:
    """The names at the top of verl's configuration."""
    return set(read_file(DEFAULTS))


def verl_settings(source: Source, *, ignore_unknown: bool = False) -> Settings:
    """The settings of `source` over verl's defaults. ValueError for an unknown one or a value of a wrong type."""
    defaults, version = _defaults()
    if not ignore_unknown:
        _check_names(source, defaults)
    tree = _merged(defaults, source.fields)
    for key, value, _ in source.overrides:
        tree = _merged(tree, _nested(key, value))
    values: dict[str, Any] = {}
    for name, kind in KINDS.items():
        value = _resolved(tree, name)
        try:
            values[name] = checked(name, value, kind)
        except ValueError as error:
            raise ValueError(f"{source.name}: {error}") from None
    return Settings(
        "verl", version, values, {name: _at(defaults, name) for name in KINDS}
    )


def _defaults() -> tuple[dict[str, Any], str]:
    """The tree of known names with their defaults: the installed verl's where there is one, without importing it."""
    shipped = dict(read_file(DEFAULTS))
    spec = importlib.util.find_spec("verl")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        own = Path(folder) / "trainer" / "config" / "_generated_ppo_trainer.yaml"
        number = Path(folder) / "version" / "version"
        if own.is_file() and number.is_file():
            return _merged(shipped, read_file(own)), number.read_text(
                encoding="utf-8"
            ).strip()[:20]
    return shipped, "0.9.1"


def _check_names(source: Source, known: Mapping[str, Any]) -> None:
    names = [(name, False) for name in _names(source.fields, known)]
    names += [
        (name, added)
        for key, value, added in source.overrides
        for name in _names(_nested(key, value), known)
    ]
    for name, added in names:
        parent, _, last = name.rpartition(".")
        if added or (not parent and last in FREE):
            continue
        beside = _at(known, parent) if parent else known
        # none where a key has dots of its own
        near = near_name(last, beside if isinstance(beside, Mapping) else ())
        raise ValueError(
            f"{source.name}: verl has no setting {short(name)}: {near}; "
            "--ignore-unknown passes over settings of a recipe of your own"
        )


def _names(
    fields: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Dotted names in `fields` that `known` lacks. A class of one's own (_target_) may have fields of its own."""
    own = "_target_" in fields and fields["_target_"] != known.get(
        "_target_", fields["_target_"]
    )
    for key, value in fields.items():
        if key not in known:
            if not own:
                yield f"{prefix}{key}"
        elif (
            isinstance(value, Mapping)
            and isinstance(known[key], Mapping)
            and known[key]
        ):
            yield from _names(value, known[key], f"{prefix}{key}.")


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        found[key] = (
            _merged(under, value)
            if isinstance(under, Mapping) and isinstance(value, Mapping)
            else value
        )
    return found


def _at(tree: Any, name: str) -> Any:
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _resolved(tree: Mapping[str, Any], name: str) -> Any:
    """The value, through plain interpolations ${a.b.c}; others stay text."""
    value = _at(tree, name)
    for _ in range(10):
        if not (
            isinstance(value, str)
            and value.startswith("${")
            and value.endswith("}")
            and ":" not in value
        ):
            break
        value = _at(tree, value[2:-1])
    return value


# Checks


def verl_findings(s: Settings, strategy: Strategy | None = None) -> list[Found]:
    """What is found in verl's configuration, under its own thresholds or those of an entrostat strategy.

    The strategy is the one that the configuration names, unless another is given. ValueError where it names one, or an
    option, that there is not.
    """
    # also in bypass mode: v1 keeps it, and v0 sets another on the driver alone, when its workers have this one
    mode = s[f"{LOSS}.loss_mode"] if strategy is None else PLUGIN
    if mode == PLUGIN:
        strategy = strategy or _named(s)
    checks: list[Callable[[], Found | None]] = [
        lambda: _ratio(s, mode, strategy),
        lambda: _clip_ratio(s, mode),
        lambda: _dual_clip(s, mode, strategy),
        lambda: _ignored(s, mode),
        lambda: _aggregation(s),
        lambda: _temperature(s),
        lambda: _sampling(s),
        lambda: _bonus(s, strategy),
    ]
    return [found for check in checks if (found := check()) is not None]


def _named(s: Settings) -> Strategy:
    """The strategy that the configuration names, with its options."""
    name, options = s[f"{LOSS}.strategy"], dict(s[f"{LOSS}.options"] or {})
    if name is None:
        raise ValueError(
            f"{LOSS}.strategy is not set, and loss_mode {PLUGIN} wants one: {', '.join(STRATEGIES)}"
        )
    for field in dataclasses.fields(STRATEGIES[name]) if name in STRATEGIES else ():
        kind = OPTION_KINDS.get(type(field.default))
        if kind and field.name in options:
            options[field.name] = checked(
                f"{LOSS}.options.{field.name}", options[field.name], kind
            )
    try:
        return make_strategy(name, **options)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{LOSS}: {reason(error)}") from None


def _ratio(s: Settings, mode: str, strategy: Strategy | None) -> Found | None:
    names = (
        "data.train_batch_size",
        f"{ACTOR}.ppo_mini_batch_size",
        f"{ACTOR}.ppo_epochs",
    )
    batch, mini, epochs = (s[name] for name in names)
    acts = mode in FRESH or (strategy is not None and strategy.acts_on_fresh)
    # in bypass mode the old policy is the sampler, and ratios leave 1 by the mismatch of the two
    if batch > mini or epochs > 1 or acts or s[f"{CORRECTION}.bypass_mode"]:
        return None
    values = {name: s[name] for name in names}
    return Found(
        Finding.RATIO_ALWAYS_ONE,
        f"one update a rollout ({shown(_short(values))})",
        values,
    )


def _window(s: Settings) -> tuple[float, float]:
    """Low and high as verl's losses take them."""
    both, low, high = (s[f"{ACTOR}.{name}"] for name in WINDOW)
    return (both if low is None else low), (both if high is None else high)


def _clip_ratio(s: Settings, mode: str) -> Found | None:
    low, high = (f"{ACTOR}.clip_ratio_low", f"{ACTOR}.clip_ratio_high")
    both = s[f"{ACTOR}.clip_ratio"]
    if not s.changed(f"{ACTOR}.clip_ratio") or "clip_ratio" not in READS.get(mode, ()):
        return None
    # a side that was chosen, or null, or happens to agree, is no trap
    if not any(
        s[side] is not None and not s.changed(side) and s[side] != both
        for side in (low, high)
    ):
        return None
    values = {f"{ACTOR}.clip_ratio": both, low: s[low], high: s[high]}
    said = f"clip_ratio {both:g} is set, the window is 1 - {_window(s)[0]:g} to 1 + {_window(s)[1]:g}"
    return Found(Finding.CLIP_RATIO_ALONE, said, values)


def _dual_clip(s: Settings, mode: str, strategy: Strategy | None) -> Found | None:
    cap, name, high = (
        s[f"{ACTOR}.clip_ratio_c"],
        f"{ACTOR}.clip_ratio_high",
        _window(s)[1],
    )
    if strategy is not None:
        name, high = f"highest of {strategy_name(strategy)}", strategy.highest
    if mode not in ("vanilla", PLUGIN) or cap >= min(1 + high, NO_CAP):
        return None
    said = f"clip_ratio_c {cap:g} caps the ratio of tokens with A < 0 where the window goes up to 1 + {high:g}"
    return Found(
        Finding.DUAL_CLIP,
        f"{said} ({name.rpartition('.')[2]})",
        {f"{ACTOR}.clip_ratio_c": cap, name: high},
    )


def _ignored(s: Settings, mode: str) -> Found | None:
    reads = READS.get(mode)
    if reads is None:
        return None
    unread = {
        n: s[f"{ACTOR}.{n}"]
        for n in THRESHOLDS
        if n not in reads and s.changed(f"{ACTOR}.{n}")
    }
    if not unread:
        return None
    values = {
        f"{LOSS}.loss_mode": mode,
        **{f"{ACTOR}.{name}": value for name, value in unread.items()},
    }
    return Found(
        Finding.THRESHOLD_IGNORED,
        f"loss_mode {mode} does not read {shown(_short(unread))}",
        values,
    )


def _aggregation(s: Settings) -> Found | None:
    mode = s[f"{ACTOR}.loss_agg_mode"]
    if mode not in ENTROPY_IS:
        return None
    said = f"loss_agg_mode {mode}: actor/entropy is {ENTROPY_IS[mode]}"
    return Found(Finding.ENTROPY_AGGREGATION, said, {f"{ACTOR}.loss_agg_mode": mode})


def _temperature(s: Settings) -> Found | None:
    name = f"{ROLLOUT}.temperature"
    if s[name] == 1:
        return None
    said = f"at {s[name]:g} actor/entropy is the tempered sampler's, not the model's"
    return Found(Finding.TEMPERATURE, said, {name: s[name]})


def _sampling(s: Settings) -> Found | None:
    off = {f"{ROLLOUT}.top_p": (1,), f"{ROLLOUT}.top_k": (-1, 0)}
    cuts = {name: s[name] for name, values in off.items() if s[name] not in values}
    return (
        Found(Finding.SAMPLING_CUT, f"the sampler has {shown(_short(cuts))}", cuts)
        if cuts
        else None
    )


def _bonus(s: Settings, strategy: Strategy | None) -> Found | None:
    bonus = s[f"{ACTOR}.entropy_coeff"]
    if not bonus or strategy is None or not strategy.controls_entropy:
        return None
    name = strategy_name(strategy)
    values = {f"{ACTOR}.entropy_coeff": bonus, "strategy": name}
    return Found(
        Finding.BONUS_AND_CONTROLLER, f"entropy_coeff {bonus:g} beside {name}", values
    )


def _short(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.rpartition(".")[2]: value for name, value in values.items()}
