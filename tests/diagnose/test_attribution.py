"""Attribution against the scalar reference, and the law that every breakdown adds up."""

import math
import tempfile
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import reference
from entrostat import dump
from entrostat.diagnose.attribution import Attribution, Split
from entrostat.diagnose.grid import BINS, HIGHS, LOWS, bin_of, clipped_sums, predicted
from entrostat.diagnose.stream import attribute
from entrostat.response import ResponseBatch, response_map
from made_up_dumps import made_up

SPLITS = ("regions", "signs", "positions", "ids", "groups", "steps", "bins")
EVENTS = {None: 0, "low": 1, "high": 2}
KEY_OF = {
    "regions": lambda token: (token["region"],),
    "signs": lambda token: (int(np.sign(token["advantage"])),),
    "positions": lambda token: ((token["position"] + 1).bit_length() - 1,),
    "ids": lambda token: (token["id"],),
    "groups": lambda token: (0, token["step"], token["group"]),
    "steps": lambda token: (0, token["step"]),
}


def by_hand(tokens, key, what="change"):
    """{key: [[tokens], [change]] by event} with Python's own sums."""
    out = defaultdict(lambda: [[0] * 3, [0.0] * 3])
    for token in tokens:
        event = EVENTS[token["event"]]
        out[key(token)][0][event] += 1
        out[key(token)][1][event] += token[what]
    return dict(out)


def as_dict(split: Split):
    rows = zip(split.keys.tolist(), split.tokens.tolist(), split.change.tolist(), strict=True)
    return {tuple(key): [tokens, change] for key, tokens, change in rows if sum(tokens)}


def assert_same(found, want):
    assert found.keys() == want.keys()
    scale = sum(abs(x) for _, change in want.values() for x in change)
    for key, (tokens, change) in want.items():
        assert found[key][0] == tokens, key
        assert found[key][1] == pytest.approx(change, abs=1e-6 * scale), key


@pytest.mark.parametrize("name", KEY_OF)
@pytest.mark.parametrize("seeds", [(0,), (1, 2, 3)])
def test_a_breakdown_is_the_reference_s(make_dump, name, seeds):
    folder, tokens = make_dump(seeds)
    found, skipped = attribute([folder])
    assert_same(as_dict(getattr(found, name)), by_hand(tokens, KEY_OF[name]))
    assert (found.tokens, skipped.rows, skipped.files) == (len(tokens), 0, 0)


ROUNDING = 2.0**-24
"""Of float32, relative: a dump's numbers are at most so far from those that the reference works with."""


def stored_error(columns, tokens):
    """How far the sum of changes may be off since a dump holds float32, to first order in the rounding.

    The bracket p (l + H) - S1 - H S2 (l = ln p, S1 = sum p^2 ln p, S2 = sum p^2) cancels: it may be a hundredth of its
    terms. So the error is of the size of the terms, by its derivatives: p (1 + l + H) in l, p - S2 in H, 1 and H in the
    sums. The ratio and the advantage are those of the dump on both sides.
    """
    error = 0.0
    for token in tokens:
        row, at = token["sample"], token["position"]
        names = ("logprobs", "entropy", "sum_p2", "sum_p2_logp")
        logprob, entropy, sum_p2, sum_p2_logp = (columns[name][row][at] for name in names)
        p = math.exp(logprob)
        of_logprob = abs(p * (1 + logprob + entropy) * logprob)
        of_entropy = abs((p - sum_p2) * entropy)
        of_sums = abs(sum_p2_logp) + abs(entropy * sum_p2)
        weight = abs(token["advantage"]) * math.exp(token["logratio"])
        error += weight * ROUNDING * (of_logprob + of_entropy + of_sums)
    return error


@settings(max_examples=40)
# one token whose bracket is a twelfth of its terms: it is 2.9e-6 off, and 8.7e-6 is what float32 allows
@example([1633867741], 1, 1, 2)
@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 5), st.integers(2, 9))
def test_every_breakdown_adds_up_to_the_same_total(seeds, prompts, samples, longest):
    with tempfile.TemporaryDirectory() as folder:
        tokens = []
        stored = 0.0
        for step, seed in enumerate(seeds):
            columns, more = made_up(seed, step=step, prompts=prompts, samples=samples, longest=longest)
            dump.write(Path(folder) / dump.file_name(step), **columns)
            tokens += more
            stored += stored_error(columns, more)
        if not tokens:
            with pytest.raises(ValueError, match="no trained token"):
                attribute([folder])
            return
        found, _ = attribute([folder])
    want = by_hand(tokens, lambda token: "all")["all"]
    scale = sum(abs(token["change"]) for token in tokens)
    for name in SPLITS:
        split = getattr(found, name)
        assert split.tokens.sum(0).tolist() == want[0], name
        # the sums themselves are in float64
        assert split.change.sum(0) == pytest.approx(want[1], abs=stored + 1e-12 * scale), name
        assert split.change.sum(0) == pytest.approx(found.regions.change.sum(0), abs=1e-12 * scale + 1e-300), name


def test_files_ranks_and_the_order_of_rows_do_not_matter(make_dump, tmp_path):
    """One file, a row group a row; or two files whose rows are shuffled: the same sums and the same resamples."""
    folder, _ = make_dump((5,))
    whole, _ = attribute([folder])
    batch = next(dump.read(folder))
    order = np.random.default_rng(0).permutation(batch.num_rows)
    (tmp_path / "ranks").mkdir()
    for rank, rows in enumerate(np.array_split(order, 2)):
        dump.save(tmp_path / "ranks" / dump.file_name(0, rank, 2), [batch.take(rows)])
    ranks, _ = attribute([tmp_path / "ranks"])
    for name in SPLITS:
        one, other = getattr(whole, name), getattr(ranks, name)
        assert (one.keys == other.keys).all() and one.tokens.tolist() == other.tokens.tolist()
        assert one.change == pytest.approx(other.change, rel=1e-9, abs=1e-12)
    assert whole.resampled == pytest.approx(ranks.resampled, rel=1e-9, abs=1e-12)
    assert whole.rewards.tolist() == ranks.rewards.tolist()


def all_tokens(tokens):
    return ResponseBatch(*(torch.tensor([t[name] for t in tokens]) for name in ("logratio", "advantage", "change")))


def test_the_map_is_that_of_response_map(make_dump):
    folder, tokens = make_dump((1, 2, 3, 4), prompts=6)
    found, _ = attribute([folder])
    want = response_map(all_tokens(tokens), LOWS, HIGHS)
    assert predicted(found.bins.change.sum(1)) / found.tokens == pytest.approx(want.numpy(), abs=1e-6)


def test_tokens_that_the_grid_clips_are_the_reference_s(make_dump):
    folder, tokens = make_dump((1, 2), prompts=6)
    found, _ = attribute([folder])
    low, high = clipped_sums(found.bins.tokens.sum(1))
    for i, j in product(range(len(LOWS)), range(len(HIGHS))):
        events = [reference.clip_event(t["logratio"], t["advantage"], LOWS[i], HIGHS[j]) for t in tokens]
        assert (low[i], high[j]) == (events.count("low"), events.count("high"))


def test_ratios_on_a_threshold_are_as_in_response_map():
    """At the threshold itself, and one step of float32 on each side of it."""
    at = [np.float32(1 - low) for low in LOWS] + [np.float32(1 + high) for high in HIGHS[:-1]]
    near = [np.nextafter(x, np.float32(to)) for x in at for to in (0, 9)] + at
    with np.errstate(divide="ignore"):
        logratio = torch.log(torch.tensor(np.array(near * 2)))
    advantages = torch.tensor([-1.0] * len(near) + [1.0] * len(near))
    change = torch.arange(1.0, 2 * len(near) + 1)
    bins = np.bincount(bin_of(logratio.numpy(), advantages.double().numpy()), weights=change.numpy(), minlength=BINS)
    want = response_map(ResponseBatch(logratio, advantages, change), LOWS, HIGHS) * len(change)
    assert predicted(bins) == pytest.approx(want.numpy(), rel=1e-12)


def test_rewards_and_the_entropy_at_the_start_are_counted(make_dump):
    folder, tokens = make_dump((3, 4))
    found, _ = attribute([folder])
    rows = [row for batch in dump.read(folder) for row in batch.to_pylist()]
    for key, scores in zip(found.groups.keys.tolist(), found.rewards.tolist(), strict=True):
        mine = [row["reward"] for row in rows if [0, row["step"], row["group"]] == key]
        assert scores == [len(mine), len(mine), sum(reward >= 0.5 for reward in mine)]
    for (_, step), (total, count) in zip(found.steps.keys.tolist(), found.entropy.tolist(), strict=True):
        mine = [token["start"] for token in tokens if token["step"] == step]
        assert count == len(mine) and total == pytest.approx(sum(mine), rel=1e-6)
    agree = [token["right"] == (token["advantage"] > 0) for token in tokens if token["advantage"]]
    assert found.agree == sum(agree) / len(agree)
    assert found.fresh == sum(token["logratio"] == 0 for token in tokens)


def test_without_sums_it_is_the_own_term_and_says_so(make_dump):
    folder, tokens = make_dump((3,), without={"sum_p2"})
    found, _ = attribute([folder])
    assert found.plan.measure == "entropy_change_own_term"
    assert any("sum_p2" in line and "entropy_change_own_term" in line for line in found.plan.left_out)
    assert_same(as_dict(found.regions), by_hand(tokens, KEY_OF["regions"], "own"))


def test_one_file_without_sums_makes_all_of_it_the_own_term(make_dump):
    """Two measures must never be added up."""
    make_dump((3,))
    folder, _ = make_dump((3, 4), without={"sum_p2_logp"})
    columns, _ = made_up(3)
    dump.write(folder / dump.file_name(0), **columns, overwrite=True)
    found, _ = attribute([folder])
    assert found.plan.measure == "entropy_change_own_term"


MISSING = {
    "entropy": "no column entropy",
    "old_logprobs": "no column old_logprobs",
    "clipped": "no column clipped",
    "group": "no column group",
    "reward": "no column reward",
    "text": "no column text",
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_left_out_with_a_word(make_dump, name):
    folder, tokens = make_dump((3,), without={name})
    found, _ = attribute([folder])
    assert [line for line in found.plan.left_out if line.startswith(MISSING[name])]
    assert found.tokens == len(tokens)
    if name == "clipped":
        assert found.steps.tokens.tolist() == [[len(tokens), 0, 0]]
    if name == "entropy":
        assert found.plan.measure is None and not found.ids.change.any()
        assert found.ids.tokens.sum(0).tolist() == by_hand(tokens, lambda token: 0)[0][0]


def test_events_are_worked_out_from_low_high_and_ratios(make_dump):
    columns, tokens = made_up(8, high=0.1, low=0.3)
    folder, _ = make_dump(())
    folder.mkdir()
    del columns["clipped"]
    dump.write(folder / "a.parquet", **columns, low=0.3, high=0.1)
    found, _ = attribute([folder])
    assert_same(as_dict(found.regions), by_hand(tokens, KEY_OF["regions"]))


def test_a_sequence_s_ratio_is_the_mean_of_its_tokens(make_dump, tmp_path):
    columns, tokens = made_up(8)
    notes = {"importance_sampling_level": "sequence"}
    dump.write(tmp_path / "a.parquet", **columns, notes=notes)
    found, _ = attribute([tmp_path / "a.parquet"])
    of = defaultdict(list)
    for token in tokens:
        of[token["sample"]].append(token["logratio"])
    for token in tokens:
        mean = float(np.float32(sum(of[token["sample"]]) / len(of[token["sample"]])))
        token["change"] *= math.exp(mean - token["logratio"])
        token["logratio"] = mean
    want = response_map(all_tokens(tokens), LOWS, HIGHS)
    assert predicted(found.bins.change.sum(1)) / found.tokens == pytest.approx(want.numpy(), abs=1e-6)
    assert_same(as_dict(found.regions), by_hand(tokens, KEY_OF["regions"]))


def test_of_a_sequence_s_ratio_only_the_column_tells_what_was_clipped(tmp_path):
    columns, tokens = made_up(8)
    del columns["clipped"]
    notes = {"importance_sampling_level": "sequence"}
    dump.write(tmp_path / "a.parquet", **columns, low=0.01, high=0.01, notes=notes)
    found, _ = attribute([tmp_path / "a.parquet"])
    assert found.steps.tokens.tolist() == [[len(tokens), 0, 0]]
    assert "no column clipped: every token counts as kept" in found.plan.left_out


def test_one_file_with_the_events_and_one_with_what_they_are_worked_out_from(make_dump):
    """The ratios are not shared, the events are."""
    folder, tokens = make_dump((3,), without={"old_logprobs"})
    columns, more = made_up(4, step=1)
    del columns["clipped"]
    dump.write(folder / dump.file_name(1), **columns, low=0.2, high=0.2)
    found, _ = attribute([folder])
    counts = [by_hand(some, lambda token: 0)[0][0] for some in (tokens, more)]
    assert found.steps.tokens.tolist() == counts and not found.plan.has("old_logprobs")


def test_a_ratio_that_overflows_is_named_or_skipped(make_dump):
    folder, tokens = make_dump((3,))
    columns, _ = made_up(3)
    row = next(i for i, mask in enumerate(columns["mask"]) if any(mask))
    columns["old_logprobs"][row] = [-3e38] * len(columns["mask"][row])
    dump.write(folder / dump.file_name(0), **columns, overwrite=True)
    with pytest.raises(ValueError, match=rf"step-000000.parquet: row {row}, column 'logprobs'"):
        attribute([folder])
    found, skipped = attribute([folder], skip_bad=True)
    assert skipped.rows == 1 and found.completions == len(columns["mask"]) - 1
    assert_same(as_dict(found.ids), by_hand([t for t in tokens if t["sample"] != row], KEY_OF["ids"]))


def test_resamples_have_the_mean_and_the_spread_of_a_bootstrap(make_dump):
    """Poisson(1) draws: over resamples a sum of groups has their sum as its mean, their sum of squares as variance."""
    folder, _ = make_dump((1, 2, 3, 4, 5, 6), prompts=8)
    found: Attribution
    found, _ = attribute([folder])
    per_group = found.groups.tokens.sum(1)
    drawn = found.resampled[:, 0]
    sd = np.sqrt((per_group**2).sum())
    assert abs(drawn.mean() - per_group.sum()) < 4 * sd / np.sqrt(len(drawn))
    assert 0.85 < drawn.std() / sd < 1.15
