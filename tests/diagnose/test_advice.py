"""The sentence, the causes and the pair of thresholds, in worlds where the answer is known beforehand."""

import json
import math

import numpy as np
import pytest

from entrostat import dump
from entrostat.diagnose.advice import LEAST_HIGH, LEAST_LOW, advise, response
from entrostat.diagnose.causes import KEYS, causes, kept, terms, unclipped
from entrostat.diagnose.grid import HIGHS, LOWS
from entrostat.diagnose.page import page
from entrostat.diagnose.result import result
from entrostat.diagnose.series import FEWEST, Point, correlation, series
from entrostat.diagnose.stream import Skipped, attribute
from entrostat.diagnose.viewer import viewer
from entrostat.diagnose.words import in_force, sentences

P, H = math.log(0.5), 1.0
"""A likely token: ln p + H > 0, and with these sums E[Q] is 0."""
SUMS = {"sum_p2": 0.1, "sum_p2_logp": -0.1}
BRACKET = 0.5 * (P + H)


def world(path, kinds, groups=30, **columns):
    """A dump in which each of `groups` prompts has, for every (A, ratio, n) of `kinds`, an answer of n such tokens."""
    rows = [kind for _ in range(groups) for kind in kinds]
    lists = {
        "tokens": [[7] * n for _, _, n in rows],
        "advantages": [[a] * n for a, _, n in rows],
        "logprobs": [[P] * n for _, _, n in rows],
        "old_logprobs": [[P - math.log(r)] * n for _, r, n in rows],
        "entropy": [[H] * n for _, _, n in rows],
        "group": [i // len(kinds) for i in range(len(rows))],
        "reward": [float(a > 0) for a, _, _ in rows],
    }
    dump.write(path, **lists | {name: [[x] * n for _, _, n in rows] for name, x in SUMS.items()} | columns)
    return attribute([path])[0]


def said(found, path):
    change = kept(found)
    return sentences(found, change, causes(found), advise(found), series(found, [path]))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


def test_the_pair_that_holds_with_the_fewest_tokens_clipped(path):
    """A reinforced likely token lowers entropy by its bracket B, one that is punished at ratio r raises it by r B.

    Low .05 clips the 8 at .92; .1 does not, and with them entropy would have risen.
    """
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.92, 8), (-1.0, 1.3, 3)], low=0.05, high=0.2)
    tokens = 21
    assert kept(found).value == pytest.approx(BRACKET * (3 * 1.3 - 10) / tokens, rel=1e-5)
    assert unclipped(found).value == pytest.approx(BRACKET * (3 * 1.3 + 8 * 0.92 - 10) / tokens, rel=1e-5)
    advice = advise(found)
    assert (advice.low, advice.high, advice.holds, advice.sure, advice.holding) == (0.1, 0.2, True, 1.0, 1.0)
    assert advice.change.value == pytest.approx(BRACKET * (3 * 1.3 + 8 * 0.92 - 10) / tokens, rel=1e-5)
    assert advice.difference.value == pytest.approx(BRACKET * 8 * 0.92 / tokens, rel=1e-5)
    assert advice.clipped == 0 and advice.clipped_before == pytest.approx(8 / tokens)
    text = " ".join(said(found, path))
    assert "Pushing up likely tokens of right answers (E1) took 58%" in text
    assert "clip-low on likely tokens of wrong answers (E3) 42%" in text
    assert "Low 0.1 with high 0.2 (low 0.05 and high 0.2 in force) would have held entropy" in text


def test_clip_high_is_blamed_where_it_is_to_blame(path):
    """Reinforced unlikely tokens at ratio 1.3, which raise entropy, are clipped; what is left lowers it."""
    rare = math.log(0.05)
    q = 0.05 * (rare + H)
    kinds = [(1.0, 1.0, 4), (1.0, 1.3, 6)]
    logprobs = [[P] * 4, [rare] * 6] * 30
    old = [[P] * 4, [rare - math.log(1.3)] * 6] * 30
    sums = [[[x] * n for n in (4, 6)] * 30 for x in SUMS.values()]
    found = world(
        path, kinds, logprobs=logprobs, old_logprobs=old, low=0.2, high=0.2, **dict(zip(SUMS, sums, strict=True))
    )
    by = {cause.key: cause.change.value * 10 for cause in causes(found)}
    assert by["E1"] == pytest.approx(-4 * BRACKET, rel=1e-5)
    assert by["E2"] == pytest.approx(-6 * 1.3 * q, rel=1e-5) and by["E2 clip-high"] == pytest.approx(-by["E2"])
    text = " ".join(said(found, path))
    assert "lip-high on unlikely tokens of right answers (E2)" in text
    advice = advise(found)
    assert advice.high > 0.3 - 1e-6


def test_where_nothing_holds_it_says_so_and_names_the_nearest(path):
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.9, 2)], low=0.05, high=0.2)
    advice = advise(found)
    assert not advice.holds and advice.low >= 0.1
    allowed = [
        response(found)[i, j]
        for i, low in enumerate(LOWS)
        for j, high in enumerate(HIGHS)
        if low >= LEAST_LOW and high >= LEAST_HIGH
    ]
    assert advice.change.value == max(allowed)
    assert "No pair of thresholds on the grid would have held entropy" in " ".join(said(found, path))


def test_rising_entropy_has_the_signs_turned(path):
    found = world(path, [(-1.0, 1.0, 10), (1.0, 1.25, 9)], low=0.2, high=0.2)
    assert kept(found).value == pytest.approx(10 * BRACKET / 19, rel=1e-5)
    advice = advise(found)
    assert advice.holds and advice.high == 0.28 and advice.change.value < 0
    text = " ".join(said(found, path))
    assert "Clip-high on likely tokens of right answers (E1) gave 53%" in text
    assert "of what entropy gained" in text and "pushing down likely tokens of wrong answers (E3) 47%" in text


@pytest.mark.parametrize("loss", ["sapo", "vespo", "my-loss", 3])
def test_a_loss_without_a_window_brings_no_advice(path, loss):
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.92, 8), (-1.0, 1.3, 3)], notes={"loss_type": loss})
    assert advise(found) is None and kept(found).value
    text = " ".join(said(found, path))
    assert "ushing" in text and "would have held" not in text and "grid" not in text
    assert [line for line in found.plan.left_out if line.endswith("no thresholds are advised")]


def test_tokens_that_cispo_caps_keep_their_gradient(path):
    """Dumps of older versions have them as clipped."""
    kinds = [(1.0, 1.0, 10), (1.0, 1.3, 3)]
    clipped = [[0] * 10, [1] * 3] * 30
    found = world(path, kinds, clipped=clipped, notes={"loss_type": "cispo"})
    assert kept(found).value == unclipped(found).value == pytest.approx(-BRACKET * (10 + 3 * 1.3) / 13, rel=1e-5)
    assert "clip-" not in " ".join(said(found, path)) and advise(found) is None
    assert [line for line in found.plan.left_out if line.startswith("loss type cispo ") and "counts as clipped" in line]
    other = world(path.with_name("b.parquet"), kinds, clipped=clipped, notes={"loss_type": "grpo"})
    assert kept(other).value == pytest.approx(-BRACKET * 10 / 13, rel=1e-5)


def test_a_dual_clip_is_a_cause_and_no_threshold_gives_back_what_it_took(path):
    """Punished tokens past 3 have no gradient in verl; with it they would have held entropy."""
    kinds = [(1.0, 1.0, 10), (-1.0, 0.9, 6), (-1.0, 4.0, 5)]
    clipped = [[0] * 10, [0] * 6, [1] * 5] * 30
    found = world(path, kinds, low=0.2, high=0.2, clipped=clipped, notes={"loss_type": "vanilla"})
    assert kept(found).value == pytest.approx(BRACKET * (6 * 0.9 - 10) / 21, rel=1e-5)
    by = {cause.key: cause.change.value * 21 for cause in causes(found)}
    assert by["E3"] == pytest.approx(BRACKET * (6 * 0.9 + 5 * 4), rel=1e-5)
    assert by["E3 clip-high"] == pytest.approx(-BRACKET * 5 * 4, rel=1e-5) and by["rest"] == 0
    assert "The dual clip on likely tokens of wrong answers (E3) took 67%" in " ".join(said(found, path))
    low, high = LOWS.index(0.2), HIGHS.index(0.2)
    assert response(found)[low, high] == pytest.approx(kept(found).value)
    advice = advise(found)
    assert not advice.holds and advice.change.value == pytest.approx(kept(found).value)
    assert advice.change.low == pytest.approx(advice.change.value) or math.isnan(advice.change.low)
    assert advice.clipped == advice.clipped_before == 0


def test_a_loss_without_a_window_is_not_told_that_no_threshold_can_act(path):
    found = world(path, [(1.0, 1.0, 10)], notes={"loss_type": "cispo"})
    assert "threshold" not in " ".join(said(found, path))


def test_one_update_a_rollout_is_told_that_nothing_can_act(path):
    found = world(path, [(1.0, 1.0, 10)], low=0.2, high=0.2)
    assert advise(found) is None
    assert "Every ratio is exactly 1" in " ".join(said(found, path))


def unsure(path):
    """Prompts whose likely tokens are pushed up and down in turn, a little more of one."""
    signs = [[[1.0] * 10], [[-1.0] * 10]] * 14 + [[[1.0] * 10]] * 2
    found = world(path, [(1.0, 0.9, 10)], advantages=[row for group in signs for row in group])
    assert kept(found).low < 0 < kept(found).high and kept(found).value
    return found


def test_a_change_of_no_sure_sign_brings_no_advice(path):
    found = unsure(path)
    text = " ".join(said(found, path))
    assert "its sign is not sure, so no thresholds are advised" in text and "Low" not in text and "grid" not in text
    assert advise(found) is None
    assert [cause.share for cause in causes(found)] == [None] * len(KEYS) and "(E" not in text
    made = result(found, Skipped(), [path])
    assert made["advice"] is None and made["map"] and not [cause for cause in made["causes"] if cause["share"]]
    assert "outlined" not in page(made, viewer(found, 9))


def test_the_pair_that_is_outlined_is_the_one_advised(path):
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.92, 8), (-1.0, 1.3, 3)], low=0.05, high=0.2)
    made = page(result(found, Skipped(), [path]), viewer(found, 9))
    assert "The outlined pair is the one that the text names" in made and made.count("(named in the text)") == 1
    assert "In force: low 0.05, high 0.2." in made


@pytest.mark.parametrize(
    ("entropies", "other_way"),
    [
        ([0.400, 0.410, 0.420, 0.431, 0.440], True),
        ([0.440, 0.431, 0.420, 0.410, 0.400], False),
        ([0.350, 0.356, 0.348, 0.357, 0.353], False),  # within the noise
        ([0.350, 0.352, 0.351, 0.352, 0.350], False),  # nowhere
        ([0.400, 0.440], False),  # of a noise that is not known
    ],
)
def test_what_went_the_other_way_is_said_beyond_the_noise_of_rollouts(path, entropies, other_way):
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.92, 2)], step=[0, len(entropies) - 1] * 30)
    lines = [json.dumps({"step": k, "entropy": value}) for k, value in enumerate(entropies)]
    (path.parent / "dump").mkdir()
    moved = path.rename(path.parent / "dump" / path.name)
    (path.parent / "metrics.jsonl").write_text("\n".join(lines))
    assert kept(found).high < 0
    assert ("went the other way" in " ".join(said(found, moved))) == other_way
    # of a change that is not sure it is not said
    assert "went the other way" not in " ".join(said(unsure(moved.with_name("b.parquet")), moved))


def test_the_noise_between_rollouts_is_that_of_their_steps(path):
    """Steps of a trend and white noise: sqrt 2 sigma, whatever the trend."""
    rng = np.random.default_rng(0)
    entropies = 0.4 - 0.01 * np.arange(2000) + rng.normal(0, 0.003, 2000)
    found = world(path, [(1.0, 1.0, 3)], step=[0] * 29 + [1998])
    (path.parent / "metrics.jsonl").write_text(
        "\n".join(json.dumps({"step": k, "entropy": float(x)}) for k, x in enumerate(entropies))
    )
    assert series(found, [path.parent]).noise == pytest.approx(math.sqrt(2) * 0.003, rel=0.05)


def test_rewards_that_do_not_follow_the_advantage_are_not_called_right(path):
    rewards = [1.0, 1.0] * 30
    found = world(path, [(1.0, 1.0, 10), (-1.0, 0.9, 2)], reward=rewards)
    text = " ".join(said(found, path))
    assert "right answers" not in text and "likely tokens of A > 0 (E1)" in text


def test_bounds_that_differ_by_token_are_given_as_a_range(path):
    found = world(path, [(1.0, 1.0, 2), (-1.0, 0.9, 2)], low=[0.1, 0.3] * 30, high=math.inf)
    assert in_force(found.in_force["low"]) == "0.3" and in_force(found.in_force["high"]) == "inf"
    mixed = world(path.with_name("b.parquet"), [(-1.0, 0.9, 2), (-1.0, 0.9, 2)], low=[0.1, 0.3] * 30, high=0.2)
    assert in_force(mixed.in_force["low"]) == "0.2 on average (0.1 to 0.3)"


def test_terms_add_up_whatever_the_cells():
    cells = np.random.default_rng(0).normal(size=(50, 5, 3))
    assert terms(cells).sum(-1) == pytest.approx(cells[..., 0].sum(-1))
    assert terms(cells).shape == (50, len(KEYS))


def test_the_interval_narrows_with_more_prompts(path):
    """Prompts that differ: the interval is that of their mean, sd / sqrt(n), within the noise of 400 resamples."""
    rng = np.random.default_rng(0)
    n = 200
    advantages = [[float(a)] * 10 for a in rng.normal(2, 1, n)]
    found = world(path, [(1.0, 1.0, 10)], groups=n, advantages=advantages)
    per = -BRACKET * np.array([row[0] for row in advantages])
    change = kept(found)
    assert change.value == pytest.approx(per.mean(), rel=1e-5)
    assert (change.high - change.low) / (2 * 1.96 * per.std() / math.sqrt(n)) == pytest.approx(1, abs=0.15)


def points(pairs):
    return [Point(0, k, 0.4, measured, predicted) for k, (predicted, measured) in enumerate(pairs)]


def test_correlation_is_pearson_s_with_fisher_s_interval():
    assert correlation(points([(1.0, 2.0)] * (FEWEST - 1))) is None
    assert correlation(points([(1.0, float(k)) for k in range(9)])) is None
    found = correlation(points([(0.0, 0.0), (1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]))
    assert found.value == pytest.approx(0.8)
    z = 0.5 * math.log(1.8 / 0.2)
    assert found.low == pytest.approx(math.tanh(z - 1.959964)) and found.high == pytest.approx(math.tanh(z + 1.959964))


@pytest.mark.parametrize(("at_high", "pair"), [(5, (0.3, 0.2)), (3, (0.2, 0.28))])
def test_of_two_pairs_that_hold_the_one_that_changes_fewer_tokens(path, at_high, pair):
    """Loosening high to .28 gives `at_high` tokens back, loosening low to .3 gives 4, and either holds entropy."""
    rare = math.log(0.05)
    kinds = [(1.0, 1.0, 1), (1.0, 1.25, at_high), (-1.0, 0.75, 4), (-1.0, 0.6, 1)]
    logprobs = [[P], [rare] * at_high, [P] * 4, [P]] * 30
    old = [[lp - math.log(r) for lp in row] for row, (_, r, _) in zip(logprobs, kinds * 30, strict=True)]
    found = world(path, kinds, logprobs=logprobs, old_logprobs=old, low=0.2, high=0.2)
    assert kept(found).value < 0
    change = response(found)
    assert change[LOWS.index(0.2), HIGHS.index(0.28)] > 0 and change[LOWS.index(0.3), HIGHS.index(0.2)] > 0
    advice = advise(found)
    assert (advice.low, advice.high) == pair
    left = 5 + at_high - (4 if pair[0] == 0.3 else at_high)
    assert advice.clipped == pytest.approx(left / (6 + at_high))
    assert advice.clipped_before == pytest.approx((5 + at_high) / (6 + at_high))
