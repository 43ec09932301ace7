"""entrostat effect."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

from entrostat.cli.words import (
    check_method,
    fail,
    method,
    new_folder,
    one_process,
    parse,
    show,
    split_word,
)
from entrostat.lab.point_options import whole_seeds


def effect(args: list[str]) -> int:
    """`entrostat effect`: the exit code."""
    one_process()
    options = parse(effect_options(), args, "entrostat effect")
    _check(options)
    # these load torch, which --help and a wrong option do not need
    from entrostat.lab.effect_table import as_json, tables
    from entrostat.lab.measurement import Measurement

    out = options.out or new_folder("effect")
    measurement = Measurement(out, options.point, _methods(options))
    try:
        measured = measurement.run(
            first_seed=options.seed,
            rollouts=options.rollouts,
            within=options.within,
            note=_note,
        )
    except KeyboardInterrupt:
        return fail(f"stopped; the same command with --out {out} goes on", code=130)
    answer = as_json(measured) | {"folder": str(out)}
    show(answer, tables(measured, options.point), options.json)
    return 0


def effect_options() -> type[Any]:
    """The class of the command's options."""
    from tyro.conf import OmitArgPrefixes, Positional

    from entrostat.lab.point_options import Point

    @dataclasses.dataclass(frozen=True)
    class Effect:
        """Measures what a clip setting alone does to entropy in one rollout: paired
        branches from the same weights, samples, rewards and mini-batches (docs/regime.md).
        The first method is the base; without one it is no clipping.
        """

        point: Annotated[Point, OmitArgPrefixes]
        methods: Positional[tuple[str, ...]] = ()
        """The base and the arms, each one word, quoted with its options:
        "grpo --low 0.2 --high inf"."""
        eps: tuple[float, ...] = ()
        """Sizes of one-sided thresholds:
        each adds both sides as arms, and gives their odd and even part."""
        rollouts: int = 64
        """Rollouts to measure at most, over all seeds; only whole seeds are measured."""
        within: float | None = None
        """Stop earlier, once the half-width of every interval is at most this,
        in ln H per rollout. Where there are pairs, of their odd parts alone."""
        seed: int = 0
        """The first seed;
        each seed starts at the model and is measured for --length rollouts."""
        out: Path | None = None
        """Folder of the rollouts; the same command goes on with it.
        By default runs/effect-TIME."""
        json: bool = False
        """Print the result as JSON."""

    return Effect


def _check(options: Any) -> None:
    """Raises ValueError for options that measure nothing, before torch is imported."""
    if not options.methods and not options.eps:
        raise ValueError(
            "nothing to measure: entrostat effect --eps 0.2, or "
            'entrostat effect "grpo" "clip-lower"'
        )
    if len(options.methods) == 1 and not options.eps:
        raise ValueError(
            f"{options.methods[0]!r} is the base, and there is no arm: "
            "name one, or give --eps"
        )
    if options.rollouts < 2:
        raise ValueError(
            f"--rollouts must be at least 2 for an interval, got {options.rollouts}"
        )
    # the negation catches NaN too
    if options.within is not None and not options.within > 0:
        raise ValueError(f"--within must be over 0, got {options.within}")
    for eps in options.eps:
        if not 0 <= eps < 1:
            raise ValueError(f"--eps must be at least 0 and under 1, got {eps}")
    for word in options.methods:
        name, *typed = split_word(word)
        check_method(name, typed, "effect")
    whole_seeds(options.rollouts, options.point)


def _methods(options: Any) -> list[Any]:
    """The base, then the arms: those that were typed, and the pair of each --eps."""
    from entrostat.lab.effect import pair_of
    from entrostat.lab.methods import make_method

    methods = []
    for word in options.methods:
        name, *args = split_word(word)
        methods.append(method(name, args, "effect"))
    if not methods:
        # a window that clips nothing
        methods.append(make_method("grpo", low=1.0, high=float("inf")))
    for eps in options.eps:
        methods += [arm for arm in pair_of(eps) if arm not in methods]
    return methods


def _note(measured: Any) -> None:
    """Says on stderr how far the measurement is."""
    changes = []
    for arm in measured.effects:
        changes.append(f"{arm.name} {arm.log_entropy.value:+.2g}")
    print(f"{measured.rollouts} rollouts: {', '.join(changes)}", file=sys.stderr)
