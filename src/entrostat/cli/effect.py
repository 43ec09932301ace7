"""entrostat effect."""

import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from entrostat.cli.words import method, one_process, parse, show


def effect(args: list[str]) -> int:
    """`entrostat effect`: the exit code."""
    from tyro.conf import OmitArgPrefixes, Positional

    from entrostat.lab.effect import Measured, Measurement, pair_of, whole_seeds
    from entrostat.lab.effect_table import as_json, tables
    from entrostat.lab.methods import make_method
    from entrostat.lab.paired import Point

    @dataclasses.dataclass(frozen=True)
    class Effect:
        """Measures what a clip setting alone does to entropy in one rollout: paired branches from the same weights,
        samples, rewards and mini-batches (docs/regime.md). The first method is the base; without one it is no clipping.
        """

        point: Annotated[Point, OmitArgPrefixes]
        methods: Positional[tuple[str, ...]] = ()
        """The base and the arms, each one word, quoted with its options: "grpo --low 0.2 --high inf"."""
        eps: tuple[float, ...] = ()
        """Sizes of one-sided thresholds: each adds both sides as arms, and gives their odd and even part."""
        rollouts: int = 64
        """Rollouts to measure at most, over all seeds; only whole seeds are measured."""
        within: float | None = None
        """Stop before that once the half-width of every interval (of the odd parts, where there are pairs) is at most
        this, in ln H a rollout."""
        seed: int = 0
        """The first seed; each seed starts at the model and is measured for --length rollouts."""
        out: Path | None = None
        """Folder of the rollouts; the same command goes on with it. By default runs/effect-TIME."""
        json: bool = False
        """Print the result as JSON."""

    one_process()
    options = parse(Effect, args, "entrostat effect")
    _check(options)
    whole_seeds(options.rollouts, options.point)
    methods = [_method(word) for word in options.methods]
    if not methods:
        methods = [make_method("grpo", low=1.0, high=float("inf"))]
    for eps in options.eps:
        methods += [arm for arm in pair_of(eps) if arm not in methods]
    out = options.out or Path("runs") / f"effect-{time.strftime('%Y%m%d-%H%M%S')}"
    measurement = Measurement(out, options.point, methods)

    def note(measured: Measured) -> None:
        told = [
            f"{each.name} {each.log_entropy.value:+.2g}" for each in measured.effects
        ]
        print(f"{measured.rollouts} rollouts: {', '.join(told)}", file=sys.stderr)

    try:
        found = measurement.run(
            first_seed=options.seed,
            rollouts=options.rollouts,
            within=options.within,
            note=note,
        )
    except KeyboardInterrupt:
        print(
            f"entrostat: stopped; the same command with --out {out} goes on",
            file=sys.stderr,
        )
        return 130
    show(
        as_json(found) | {"folder": str(out)},
        tables(found, options.point),
        options.json,
    )
    return 0


def _check(options: Any) -> None:
    if not options.methods and not options.eps:
        raise ValueError(
            'nothing to measure: entrostat effect --eps 0.2, or entrostat effect "grpo" "clip-lower"'
        )
    if len(options.methods) == 1 and not options.eps:
        raise ValueError(
            f"{options.methods[0]!r} is the base, and there is no arm: name one, or give --eps"
        )
    if options.rollouts < 2:
        raise ValueError(
            f"--rollouts must be at least 2 for an interval, got {options.rollouts}"
        )
    if options.within is not None and not options.within > 0:
        raise ValueError(f"--within must be over 0, got {options.within}")
    for eps in options.eps:
        if not 0 <= eps < 1:
            raise ValueError(f"--eps must be at least 0 and under 1, got {eps}")


def _method(word: str) -> Any:
    try:
        name, *args = shlex.split(word) or [""]
    except ValueError as error:
        raise ValueError(f"{word!r} is no method with its options ({error})") from None
    return method(name, args, "effect")
