"""The estimate against theorem 1 on a bandit, and the folder of a measurement: what resumes, what is refused."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from types import SimpleNamespace

import numpy as np
import pytest

from entrostat.cli import main
from entrostat.estimate import seed_interval
from entrostat.lab import measurement
from entrostat.lab.effect import estimate, named, narrow, pair_of, pairs_in
from entrostat.lab.effect_table import as_json, tables
from entrostat.lab.measurement import Measurement
from entrostat.lab.methods import make_method
from entrostat.lab.paired import Branch, PairedRollout
from entrostat.lab.point import Point
from entrostat.lab.tasks import make_task

NONE = make_method("grpo", low=1.0, high=math.inf)
TOY = ["--prompts", "2", "--samples", "4", "--updates-per-rollout", "2", "--warmup", "0", "--held-out", "4"]

# A bandit: states with weights, a softmax over actions, in float64 and from the definitions


def softmax(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def entropies(logits):
    p = softmax(logits)
    return -(p * np.log(p)).sum(-1)


def gradient(logits, old, counts, low, high):
    """Of the sum over tokens of min(r A, clip(r) A), A = +-1, by `counts` (2 s a): of A = 1, then of A = -1."""
    p = softmax(logits)
    r = p / old
    total = np.zeros_like(p)
    for advantage, n in zip((1.0, -1.0), counts, strict=True):
        cut = r > 1 + high if advantage > 0 else r < 1 - low
        push = np.where(cut, 0.0, n * advantage * r)  # d(r A) / d ln p
        total += push - p * push.sum(-1, keepdims=True)
    return total


def theorem_1(logits, old, weights, low, high, eta):
    """dH(s) = mu nu eta d [p (E[Q] - E[Q|X]) - q (E[Q] - E[Q|Y])], mu nu = 1/2."""
    p = softmax(logits)
    r = p / old
    q = p * (np.log(p) + entropies(logits)[:, None])
    mean = (p * q).sum(-1, keepdims=True)
    clipped_low, clipped_high = r < 1 - low, r > 1 + high
    first = (p * clipped_low * (mean - q)).sum(-1)
    second = (p * clipped_high * (mean - q)).sum(-1)
    return 0.5 * eta * weights * (first - second)


def log_mean_entropy(logits, weights):
    return math.log((weights * entropies(logits)).sum())


def branch(log_entropy, **others):
    return Branch(
        log_entropy, **({"reward": 0.0, "kl": 1e-3, "rms": 0.1, "clip_low": 0, "clip_high": 0, "pace": 1} | others)
    )


def one_pass(logits, old, weights, arms, eta, batches):
    """ln H before, and a branch by each arm: SGD on the mini-batches `batches`, each (2 s a), summing to 1."""
    ends = []
    for arm in arms:
        moved = logits
        for counts in batches:
            moved = moved + eta * gradient(moved, old, counts, arm.low, arm.high)
        ends.append(branch(log_mean_entropy(moved, weights)))
    return log_mean_entropy(logits, weights), ends


def bandit(seed, states=6, actions=5, moved=0.3):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal((states, actions))
    weights = rng.random(states) + 0.5
    return logits, softmax(logits + moved * rng.standard_normal((states, actions))), weights / weights.sum()


def by_name(measured):
    return {each.name: each.log_entropy for each in measured.effects}


@pytest.mark.parametrize("updates", [1, 4])
@pytest.mark.parametrize("eps", [0.02, 0.05, 0.2])
def test_the_odd_part_is_theorem_1s(eps, updates):
    """Exact gradients: value within 5% and sign, for each of 12 policies that have moved off the old one."""
    eta, arms = 0.02 / updates, [NONE, *pair_of(eps)]
    for seed in range(12):
        logits, old, weights = bandit(seed)
        exact = np.broadcast_to(0.5 * weights[:, None] * old, (2, *old.shape))
        before, ends = one_pass(logits, old, weights, arms, eta, [exact] * updates)
        measured = estimate([PairedRollout(0, rollout, before, ends) for rollout in range(2)], arms)
        h = (weights * entropies(logits)).sum()
        change = lambda low, high: (weights * theorem_1(*at, low, high, eta * updates)).sum() / h  # noqa: B023, E731
        at = (logits, old, weights)
        low, high = change(eps, math.inf), change(1.0, eps)
        found = by_name(measured)
        odd, even = found[f"odd part of {eps}"].value, found[f"even part of {eps}"].value
        assert math.copysign(1, odd) == math.copysign(1, low - high)
        assert odd == pytest.approx((low - high) / 2, rel=0.05)
        assert even == pytest.approx((low + high) / 2, rel=0.05, abs=0.02 * abs(odd))
        assert found[f"low {eps} alone"].value == pytest.approx(low, rel=0.05, abs=0.02 * abs(odd))
        assert found[f"high {eps} alone"].value == pytest.approx(high, rel=0.05, abs=0.02 * abs(odd))
        assert abs(measured.drift.value) < 1e-12, "without a clip an advantage of mean 0 moves nothing"


def sampled_rows(rng, logits, old, weights, arms, *, rollouts, tokens, updates=2, eta=1e-4, seeds=4):
    joint = np.broadcast_to(0.5 * weights[:, None] * old, (2, *old.shape)).ravel()
    drawn = rng.multinomial(tokens // updates, joint, size=(rollouts, updates)).reshape(
        rollouts, updates, 2, *old.shape
    )
    found = []
    for i, batches in enumerate(drawn):
        before, ends = one_pass(logits, old, weights, arms, eta, batches * (updates / tokens))
        found.append(PairedRollout(i * seeds // rollouts, i % (rollouts // seeds), before, ends))
    return found


def test_on_sampled_batches_the_odd_part_is_theorem_1s():
    """A pass of SGD over mini-batches of drawn tokens: within 5%, of which half is noise."""
    rng, eta = np.random.default_rng(1), 1e-4
    logits, old, weights = bandit(3)
    eps, h = 0.1, (weights * entropies(logits)).sum()
    arms = [NONE, *pair_of(eps)]
    rows = sampled_rows(rng, logits, old, weights, arms, rollouts=64, tokens=200_000, eta=eta)
    low = theorem_1(logits, old, weights, eps, math.inf, 2 * eta)
    high = theorem_1(logits, old, weights, 1.0, eps, 2 * eta)
    wanted = (weights * (low - high)).sum() / 2 / h
    odd = by_name(estimate(rows, arms))[f"odd part of {eps}"]
    assert (odd.high - odd.low) / 2 < 0.025 * abs(wanted)
    assert odd.value == pytest.approx(wanted, rel=0.05)


def coverage(make_rows, arms, name, truth, repetitions=400):
    """How often the interval over rollouts, and over seeds, holds the truth."""
    over_rollouts = over_seeds = 0
    for repetition in range(repetitions):
        measured = estimate(make_rows(np.random.default_rng(repetition)), arms)
        (each,) = (each for each in measured.effects if each.name == name)
        over_rollouts += each.log_entropy.low <= truth <= each.log_entropy.high
        over_seeds += each.by_seed.low <= truth <= each.by_seed.high
    return over_rollouts / repetitions, over_seeds / repetitions


BINOMIAL = 3.5 * math.sqrt(0.95 * 0.05 / 400)


def test_intervals_hold_the_effect_in_19_cases_of_20():
    logits, old, weights = bandit(3)
    eps, eta, h = 0.1, 1e-4, (weights * entropies(logits)).sum()
    arms = [NONE, *pair_of(eps)]
    low, high = (theorem_1(logits, old, weights, *window, 2 * eta) for window in ((eps, math.inf), (1.0, eps)))
    truth = (weights * (low - high)).sum() / 2 / h
    make = lambda rng: sampled_rows(rng, logits, old, weights, arms, rollouts=16, tokens=512, eta=eta)  # noqa: E731
    for share in coverage(make, arms, f"odd part of {eps}", truth):
        assert share == pytest.approx(0.95, abs=BINOMIAL)


def test_where_there_is_no_effect_intervals_hold_zero_in_19_cases_of_20():
    """Two actions, the old policy off to either side with equal chance: each action is clipped as often, and
    p E[Q] - p E[Q|X] averages to half of E[Q] - E[Q]. The clip acts in every rollout, and its mean effect is zero.
    """
    logits, weights = np.log([[0.3, 0.7]]), np.ones(1)
    arms = [NONE, *pair_of(0.05)]

    def make(rng):
        rows = []
        for i in range(16):
            side = rng.choice([-1, 1])
            old = softmax(logits + side * np.array([[0.4, 0.0]]))
            (row,) = sampled_rows(rng, logits, old, weights, arms, rollouts=1, tokens=256, seeds=1)
            assert row.branches[1] != row.branches[0] != row.branches[2]
            rows.append(row._replace(seed=i // 4, rollout=i % 4))
        return rows

    for share in coverage(make, arms, "odd part of 0.05", 0.0):
        assert share == pytest.approx(0.95, abs=BINOMIAL)


# What rows say


def made_up(seed, length=2, arms=3, scale=1.0):
    """Rows that depend on the seed alone."""
    rng = np.random.default_rng(seed)
    found = []
    for rollout in range(length):
        ends = [
            branch(-1 + scale * float(rng.normal()), kl=1e-3 * (1 + 0.01 * float(rng.random()))) for _ in range(arms)
        ]
        found.append(PairedRollout(seed, rollout, -1.0, ends))
    return found


def test_an_effect_is_the_mean_difference_to_the_base():
    methods = [NONE, *pair_of(0.2)]
    rows = [row for seed in range(3) for row in made_up(seed)]
    measured = estimate(rows, methods)
    low, high = ([row.branches[i].log_entropy - row.branches[0].log_entropy for row in rows] for i in (1, 2))
    assert (measured.rollouts, measured.seeds) == (6, 3)
    assert measured.drift == seed_interval([row.branches[0].log_entropy - row.before for row in rows])
    names = ["low 0.2 alone", "high 0.2 alone", "odd part of 0.2", "even part of 0.2"]
    wanted = [low, high, *([(a + sign * b) / 2 for a, b in zip(low, high, strict=True)] for sign in (-1, 1))]
    assert [each.name for each in measured.effects] == names
    for each, values in zip(measured.effects, wanted, strict=True):
        assert each.log_entropy == pytest.approx(seed_interval(values))
        means = [sum(values[2 * seed : 2 * seed + 2]) / 2 for seed in range(3)]
        assert each.by_seed == pytest.approx(seed_interval(means))
    assert measured.means["no clipping"]["kl"] == pytest.approx(sum(row.branches[0].kl for row in rows) / 6)


def test_one_seed_has_no_interval_over_seeds_and_one_rollout_none_at_all():
    methods = [NONE, *pair_of(0.2)]
    measured = estimate(made_up(0), methods)
    each = measured.effects[0]
    assert math.isnan(each.by_seed.low) and math.isnan(each.by_seed.high)
    assert each.by_seed.value == pytest.approx(each.log_entropy.value)
    single = estimate(made_up(0, length=1), methods)
    assert math.isnan(single.drift.low) and not narrow(single, 1e9)
    data = json.loads(json.dumps(as_json(single), allow_nan=False))
    assert data["effects"][0]["log_entropy"]["low"] is None
    assert data["effects"][0]["log_entropy"]["value"] == single.effects[0].log_entropy.value


def test_pairs_are_found_wherever_they_stand():
    low, high = pair_of(0.1)
    assert pairs_in([NONE, high, make_method("id"), low]) == [(0.1, 3, 1)]
    assert pairs_in([NONE, *pair_of(0.0), *pair_of(0.2)]) == [(0.0, 1, 2), (0.2, 3, 4)]
    assert pairs_in([NONE, low, pair_of(0.2)[1], make_method("thermostat"), make_method("clip-lower", low=0.2)]) == []
    rows = made_up(0)
    assert [each.name for each in estimate(rows, [low, high, NONE]).effects] == ["high 0.1 alone", "no clipping"]


def test_names_are_short_and_tell_apart():
    low, high = pair_of(0.05)
    assert (low.low, low.high, high.low, high.high) == (0.05, math.inf, 1.0, 0.05)
    assert [named(method) for method in (NONE, low, high)] == ["no clipping", "low 0.05 alone", "high 0.05 alone"]
    assert named(make_method("grpo")) == "grpo"
    assert named(make_method("clip-lower")) == "clip-lower"
    assert named(pair_of(0.1234567)[0]) != named(pair_of(0.1234568)[0])


def test_the_stopping_rule_looks_at_widths_alone():
    methods = [NONE, *pair_of(0.2)]
    rows = [row for seed in range(3) for row in made_up(seed, scale=1e-3)]
    shifted = [
        row._replace(branches=[row.branches[0], *(b._replace(log_entropy=b.log_entropy + 5) for b in row.branches[1:])])
        for row in rows
    ]
    odd = by_name(estimate(rows, methods))["odd part of 0.2"]
    half = (odd.high - odd.low) / 2
    for some in (rows, shifted):
        assert narrow(estimate(some, methods), half * 1.001)
        assert not narrow(estimate(some, methods), half * 0.999)
    # without a pair, all arms
    arms = [NONE, make_method("id"), make_method("did")]
    widest = max(each.high - each.low for each in by_name(estimate(rows, arms)).values()) / 2
    assert narrow(estimate(rows, arms), widest * 1.001) and not narrow(estimate(rows, arms), widest * 0.999)


# The folder

POINT = Point(prompts=2, samples=4, updates_per_rollout=2, length=2, warmup=0, held_out=4)
METHODS = [NONE, *pair_of(0.2)]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def seeds(monkeypatch):
    """Made-up rows in this process in place of workers; `asked` lists the seeds, and `dies_at` ends the process."""
    told = SimpleNamespace(asked=[], dies_at=None, scale=1.0, kl=None)

    class Here(Executor):
        def submit(self, _work, point, _methods, seed):
            if seed == told.dies_at:
                raise Killed
            told.asked.append(seed)
            future = Future()
            rows = made_up(seed, point.length, scale=told.scale)
            if told.kl:
                rows = [
                    row._replace(branches=[b._replace(kl=kl) for b, kl in zip(row.branches, told.kl, strict=True)])
                    for row in rows
                ]
            future.set_result(rows)
            return future

    @contextlib.contextmanager
    def processes(_count):
        yield Here()

    monkeypatch.setattr(measurement, "_processes", processes)
    return told


def run(path, seeds, *, methods=METHODS, point=POINT, **options):
    return Measurement(path, point, methods).run(**({"first_seed": 0, "rollouts": 12, "workers": 2} | options))


@pytest.mark.parametrize("within", [None, 0.5])
@pytest.mark.parametrize("dies_at", range(6))
def test_a_killed_measurement_goes_on_to_the_same_numbers(tmp_path, seeds, dies_at, within):
    whole = run(tmp_path / "whole", seeds, within=within)
    wanted, seeds.asked, seeds.dies_at = list(seeds.asked), [], dies_at
    assert len(wanted) == 6 if within is None else 2 < len(wanted) < 6
    with pytest.raises(Killed) if dies_at in wanted else contextlib.nullcontext():
        run(tmp_path / "m", seeds, within=within)
    seeds.dies_at = None
    assert run(tmp_path / "m", seeds, within=within) == whole
    assert sorted(set(seeds.asked)) == wanted
    assert (tmp_path / "m" / "rows.jsonl").read_text() == (tmp_path / "whole" / "rows.jsonl").read_text()


def test_a_finished_measurement_measures_nothing_again(tmp_path, seeds):
    first = run(tmp_path / "m", seeds)
    seeds.asked.clear()
    assert run(tmp_path / "m", seeds) == first
    assert seeds.asked == []
    assert run(tmp_path / "m", seeds, rollouts=16).rollouts == 16
    assert seeds.asked == [6, 7]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text[: text.rindex("{")],
        lambda text: text + '{"seed": 9, "rollout": 0, "bef',
        lambda text: text + json.dumps(made_up(9)[0]._asdict()),
        lambda text: text + "[1, 2]\n7\nnull\n\x00\n",
        lambda text: text.replace('"rollout": 1', '"rollou', 1),
    ],
    ids=["truncated", "half a seed", "a line begun", "another seed begun", "rubbish", "damaged inside"],
)
def test_what_is_not_whole_is_dropped_and_measured_again(tmp_path, seeds, damage):
    whole = run(tmp_path / "m", seeds)
    file = tmp_path / "m" / "rows.jsonl"
    text = file.read_text()
    file.write_text(damage(text))
    kept = Measurement(tmp_path / "m", POINT, METHODS).rows
    assert all([row.rollout for row in kept if row.seed == seed] == [0, 1] for seed in {row.seed for row in kept})
    assert run(tmp_path / "m", seeds, rollouts=14) == estimate(
        [row for seed in range(7) for row in made_up(seed)], METHODS
    )
    assert len(whole.effects) == 4
    assert [json.loads(line)["seed"] for line in file.read_text().splitlines()] == [s for s in range(7) for _ in "ab"]


def test_the_budget_is_respected(tmp_path, seeds):
    """Whole seeds, and no more rollouts than asked for."""
    assert run(tmp_path / "m", seeds, rollouts=5, first_seed=3).rollouts == 4
    assert seeds.asked == [3, 4]
    with pytest.raises(ValueError, match="--rollouts 1 is less than a seed's 2: give more, or a smaller --length"):
        run(tmp_path / "n", seeds, rollouts=1)


def test_it_stops_once_the_intervals_are_narrow(tmp_path, seeds):
    noted = []
    seeds.scale = 1e-3
    found = run(tmp_path / "m", seeds, within=1.0, workers=1, note=noted.append)
    assert seeds.asked == [0, 1] and found.rollouts == 4, "no sooner than after two seeds"
    assert [each.rollouts for each in noted] == [2, 4]
    # a folder that holds more than was needed is read whole
    assert run(tmp_path / "m", seeds, rollouts=8).rollouts == 8
    assert run(tmp_path / "m", seeds, within=1.0, workers=1).rollouts == 8


def test_another_measurement_in_the_folder_is_refused(tmp_path, seeds):
    run(tmp_path / "m", seeds)
    before = {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}
    for point, methods in ((Point(), METHODS), (POINT, [NONE, *pair_of(0.1)]), (POINT, METHODS[::-1])):
        with pytest.raises(ValueError, match="holds a measurement of something else: choose another --out"):
            Measurement(tmp_path / "m", point, methods)
    (tmp_path / "m" / "effect.json").write_text('{"point": ')
    with pytest.raises(ValueError, match=r"effect\.json is damaged"):
        Measurement(tmp_path / "m", POINT, METHODS)
    (tmp_path / "m" / "effect.json").write_bytes(before["effect.json"])
    assert {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()} == before


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: choose another --out"):
        Measurement(tmp_path, POINT, METHODS)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_at_once_are_refused(tmp_path, seeds):
    measurement = Measurement(tmp_path / "m", POINT, METHODS)
    again = lambda _: run(tmp_path / "m", seeds)  # noqa: E731
    with pytest.raises(ValueError, match="is being measured by another process"):
        measurement.run(first_seed=0, rollouts=4, workers=1, note=again)


@pytest.mark.parametrize("kl", [(1e-3, 1.2e-3, 1e-3), (1e-3, 1e-3, 0.8e-3), (0.0, 0.0, 1e-9)])
@pytest.mark.parametrize("rollouts", [2, 8])
def test_a_kl_that_is_not_matched_is_refused_each_time(tmp_path, seeds, kl, rollouts):
    """With one seed too, and not only by the command that measured it. What is measured stays."""
    point = Point(prompts=2, samples=4, updates_per_rollout=2, length=2, held_out=4, match_kl=True)
    seeds.kl = kl
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"the KL of (low|high) 0\.2 alone can't be matched: .* leave out --match-kl"
        ):
            run(tmp_path / "m", seeds, point=point, rollouts=rollouts)
    assert Measurement(tmp_path / "m", point, METHODS).rows
    assert run(tmp_path / "n", seeds, rollouts=rollouts).rollouts == rollouts


@pytest.mark.parametrize("kl", [(1e-3, 1.05e-3, 0.95e-3), (0.0, 0.0, 0.0)])
def test_a_kl_that_is_matched_passes(tmp_path, seeds, kl):
    seeds.kl = kl
    point = Point(prompts=2, samples=4, updates_per_rollout=2, length=2, held_out=4, match_kl=True)
    assert run(tmp_path / "m", seeds, point=point).rollouts == 12


# The command


def refused(capsys, *args):
    assert main(["effect", *map(str, args)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("entrostat: ")
    return line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], 'nothing to measure: entrostat effect --eps 0.2, or entrostat effect "grpo" "clip-lower"'),
        (["grpo"], "'grpo' is the base, and there is no arm: name one, or give --eps"),
        (["grpo", "clip-loer"], "unknown method 'clip-loer': did you mean clip-lower"),
        (["grpo", ""], "'' is no method with its options"),
        (["grpo", 'grpo "'], "is no method with its options (No closing quotation)"),
        (["grpo", "clip-lower --lo 0.1"], "unknown option '--lo': did you mean --low"),
        (["grpo", "grpo --low -1"], "low must be at least 0"),
        (["grpo", "trl:gspo"], "only TRL's trainer has the loss of trl:gspo: a measurement takes grpo, clip-higher,"),
        (["grpo", "trl:cispo"], "objective:entropic"),
        (["grpo", "grpo"], "grpo is given twice: leave one out"),
        (["--eps", "1"], "--eps must be at least 0 and under 1, got 1.0"),
        (["--eps", "-0.1"], "--eps must be at least 0 and under 1, got -0.1"),
        (["--eps", "nan"], "--eps must be at least 0 and under 1, got nan"),
        (["--eps", "0.2", "--within", "0"], "--within must be over 0, got 0.0"),
        (["--eps", "0.2", "--rollouts", "1"], "--rollouts must be at least 2 for an interval, got 1"),
        (["--eps", "0.2", "--rollouts", "15"], "--rollouts 15 is less than a seed's 16"),
        (["--eps", "0.2", "--updates-per-rollout", "1"], "cannot act"),
        (["--eps", "0.2", "--updates-per-rollout", "7"], "must divide the 256 completions"),
        (["--eps", "0.2", "--held-out", "298"], "298, but countdown has 297 test problems"),
        (["--eps", "0.2", "--task", "countdwn"], "unknown task 'countdwn'"),
        (["--eps", "0.2", "--reward", "bernoulli:1"], "is the same for all completions"),
        (["--eps", "0.2", "--model", "/no/such/folder"], "--model '/no/such/folder' is no folder"),
        (["--eps", "0.2", "--model", "nosuch"], "--model 'nosuch' is no folder"),
        (["--eps", "0.2", "--stps", "3"], "unknown option '--stps'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(capsys, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *args)
    assert list(tmp_path.iterdir()) == []


def shipped_copy(folder):
    folder.mkdir()
    for file in make_task("countdown").base_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_model_that_will_not_do_is_refused_before_anything_is_written(capsys, tmp_path):
    def said(folder):
        line = refused(capsys, "--eps", "0.2", "--model", folder, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return line

    folder = shipped_copy(tmp_path / "no-tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    line = said(folder)
    assert "tokenizer" in line and "--model needs one" in line
    folder = shipped_copy(tmp_path / "strange")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen3"}))
    assert "is a qwen3 model" in said(folder)
    folder = shipped_copy(tmp_path / "truncated")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    assert "no whole model in" in said(folder)
    folder = shipped_copy(tmp_path / "path")
    (folder / "model.safetensors").unlink()
    assert "no config.json with a .safetensors file" in said(folder)
    folder = shipped_copy(tmp_path / "spelling")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((make_task("path").base_model / name).read_bytes())
    assert "can't spell" in said(folder)


def test_several_processes_are_refused(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "one process" in refused(capsys, "--eps", "0.2")


def test_help_explains_the_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["effect", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "usage: entrostat effect" in text and "--match-kl" in text and "odd" in text


def test_json_is_one_object_and_the_folder_goes_on(capsys, tmp_path):
    """The real command, in real workers; the second time it has nothing to do."""
    args = ["effect", "--eps", "0.02", *TOY, "--length", "1", "--rollouts", "2", "--out", str(tmp_path / "m")]
    assert main([*args, "--json"]) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert set(data) == {"rollouts", "seeds", "drift", "effects", "means", "folder"}
    assert [each["name"] for each in data["effects"]][2:] == ["odd part of 0.02", "even part of 0.02"]
    assert data["seeds"] == 2 and "2 rollouts: low 0.02 alone" in err
    assert main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == data
    assert main(args) == 0
    assert "odd part of 0.02" in capsys.readouterr().out


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="finds the workers in /proc")
def test_ctrl_c_ends_the_workers_too_and_keeps_what_is_whole(tmp_path):
    """To this process alone, as a supervisor sends it."""
    args = [*TOY, "--eps", "0.2", "--length", "4000", "--rollouts", "8000", "--out", str(tmp_path / "m")]
    with subprocess.Popen([sys.executable, "-m", "entrostat", "effect", *args], stderr=subprocess.PIPE) as process:
        workers = []
        while not workers:
            assert process.poll() is None
            time.sleep(0.1)
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
                # the first child tracks multiprocessing's resources
                workers = file.read().split()[1:]
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert said == f"entrostat: stopped; the same command with --out {tmp_path / 'm'} goes on\n"
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)


@pytest.mark.parametrize("width", [80, 140])
def test_the_tables_break_no_cell(width):
    """At 80 columns too: every number and its interval stand on one line."""
    from rich.console import Console

    methods = [NONE, *pair_of(0.0125), make_method("objective:entropic", target=0.35)]
    rows = [row for seed in range(2) for row in made_up(seed, arms=4, scale=1e-5)]
    console = Console(width=width, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(tables(estimate(rows, methods), Point()))
    console.file.close()
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    for name in ("low 0.0125 alone", "odd part of 0.0125"):
        assert [line for line in lines if name in line and "±" in line], name
    assert any("objective:entropic target 0.35" in line and "±" in line for line in lines)
