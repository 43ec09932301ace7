"""The response map against a brute force over every pair of thresholds: each token asked, by itself, for each pair."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from entrostat import ResponseBatch, TokenStats, clip_events, entropy_change, response_map, token_stats

INF = math.inf
LOWS = [-0.5, -0.1, 0.0, 0.01, 0.1, 0.2, 0.25, 0.5, 0.999, 1.0, 1.5, INF]
HIGHS = [-1.5, -0.5, -0.1, 0.0, 0.01, 0.1, 0.2, 0.25, 1.0, 4.0, INF, -INF]

bound = st.sampled_from([0.2, 0.25, 0.0, 1.0, -0.25, INF]) | st.floats(-3.0, 5.0)
# exp(0) = 1 and ln of exact bounds, so that ratios tie with them; whole numbers, so that sums are exact in any order
logratio = st.sampled_from([0.0, -INF, math.log(0.75), math.log(1.25)]) | st.floats(-90.0, 80.0, width=32)
token = st.tuples(
    logratio,
    st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]),
    st.integers(-1000, 1000).map(float),
    st.sampled_from([0.0, 0.5, 1.0, 4.0]),
)


def batch_of(tokens, dtype=torch.float32):
    return ResponseBatch(*(torch.tensor(column, dtype=dtype) for column in zip(*tokens, strict=True)))


def brute_force(batch, lows, highs):
    """By `clip_events`, a call for each pair, its kept tokens summed one by one."""
    weight = (torch.ones_like(batch.change) if batch.weight is None else batch.weight).tolist()
    rows = []
    for low in lows:
        row = []
        for high in highs:
            events = clip_events(batch.logratio[None], batch.advantages[None], low=low, high=high)
            gone = [a or b for a, b in zip(events.low[0].tolist(), events.high[0].tolist(), strict=True)]
            kept = [w * c for w, c, g in zip(weight, batch.change.tolist(), gone, strict=True) if not g]
            row.append(math.fsum(kept) / math.fsum(weight))
        rows.append(row)
    return rows


@given(
    st.lists(token, min_size=1, max_size=30).filter(lambda tokens: any(t[3] for t in tokens)),
    st.lists(bound, min_size=1, max_size=6),
    st.lists(bound, min_size=1, max_size=6),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_the_map_is_what_clip_events_keeps_at_every_pair_to_the_last_bit(tokens, lows, highs, dtype):
    batch = batch_of(tokens, dtype)
    assert response_map(batch, lows, highs).tolist() == brute_force(batch, lows, highs)


def test_a_ratio_on_its_bound_is_kept_and_the_next_float_is_not():
    """Each token ties with a bound of the grid, as clip_events rounds it, or misses it by the smallest step."""
    tokens = []
    for low, high in zip(LOWS[3:9], HIGHS[3:9], strict=True):
        for advantage, edge in ((-1.0, 1 - low), (1.0, 1 + high)):
            at = torch.tensor(edge).log()
            around = [at]
            for _ in range(4):  # the logarithm's own rounding: some of these have the bound itself as their ratio
                around = [torch.nextafter(around[0], torch.tensor(-INF)), *around]
                around.append(torch.nextafter(around[-1], torch.tensor(INF)))
            tokens += [(float(x), advantage, float(2 ** (i % 5)), 1.0) for i, x in enumerate(around)]
    batch = batch_of(tokens)
    ratios = batch.logratio.exp()
    assert sum(bool((ratios == 1 + high).any()) for high in HIGHS[3:9]) >= 4
    assert response_map(batch, LOWS, HIGHS).tolist() == brute_force(batch, LOWS, HIGHS)


@given(st.lists(token, min_size=1, max_size=12), st.lists(bound, min_size=1, max_size=4))
def test_the_map_is_the_reference_s_in_float64(tokens, bounds):
    """The definition in scalars: the mean over tokens of the change of those that the clip leaves alone."""
    tokens = [(x, a, c, 1.0) for x, a, c, _ in tokens]
    tokens = [t for t in tokens if all(abs(math.exp(t[0]) - 1 - b) > 1e-9 for s in bounds for b in (s, -s))]
    if not tokens:
        return
    found = response_map(batch_of(tokens, torch.float64), bounds, bounds)
    for i, low in enumerate(bounds):
        for j, high in enumerate(bounds):
            kept = [c for x, a, c, _ in tokens if reference.clip_event(x, a, low, high) is None]
            assert float(found[i, j]) == pytest.approx(sum(kept) / len(tokens), rel=1e-12, abs=1e-12)


def test_with_real_policies_it_is_the_reference_s_entropy_change():
    """From logits to the map, against scalars: change, events, weights and the mean."""
    g = torch.Generator().manual_seed(3)
    n = 60
    logits, ids = 2 * torch.randn(1, n, 7, generator=g), torch.randint(7, (1, n), generator=g)
    ratio, adv = 0.4 * torch.randn(1, n, generator=g), torch.randn(1, n, generator=g)
    weight = 1 + torch.arange(n) % 3
    stats = TokenStats(*token_stats(logits, ids))
    batch = ResponseBatch(ratio[0], adv[0], entropy_change(stats, ratio, adv)[0], weight.float())
    found = response_map(batch, LOWS, HIGHS)
    assert found.shape == (len(LOWS), len(HIGHS)) and found.dtype == torch.float64
    changes = [
        reference.entropy_change(logits[0, i].tolist(), int(ids[0, i]), float(ratio[0, i]), float(adv[0, i]))
        for i in range(n)
    ]
    for i, low in enumerate(LOWS):
        for j, high in enumerate(HIGHS):
            events = [reference.clip_event(float(ratio[0, k]), float(adv[0, k]), low, high) for k in range(n)]
            kept = sum(w * c for w, c, e in zip(weight.tolist(), changes, events, strict=True) if e is None)
            assert float(found[i, j]) == pytest.approx(kept / int(weight.sum()), rel=1e-5, abs=1e-7)


def test_sides_and_signs():
    """One token a side: the low threshold moves the one with A < 0 alone, the high one the one with A > 0 alone."""
    batch = batch_of([(math.log(0.5), -1.0, 3.0, 1.0), (math.log(1.5), 1.0, -8.0, 1.0)])
    assert response_map(batch, [0.2, 0.6], [0.2, 0.6]).tolist() == [[0.0, -4.0], [1.5, -2.5]]


def test_no_weight_is_a_weight_of_one_and_only_proportions_count():
    tokens = [(0.1 * i - 0.5, (-1.0) ** i, float(i), 1.0) for i in range(11)]
    batch = batch_of(tokens)
    whole = response_map(batch._replace(weight=None), LOWS, HIGHS)
    assert torch.equal(whole, response_map(batch, LOWS, HIGHS))
    assert torch.equal(whole, response_map(batch._replace(weight=torch.full((11,), 4.0)), LOWS, HIGHS))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logratio", math.nan), ("advantages", math.nan), ("change", math.nan), ("weight", math.nan),
        ("advantages", INF), ("change", -INF), ("weight", INF), ("weight", -1.0),
    ],
)  # fmt: skip
def test_values_without_a_mean_are_refused(field, value):
    batch = batch_of([(0.0, 1.0, 1.0, 1.0), (0.1, -1.0, 1.0, 1.0)])
    broken = getattr(batch, field).clone()
    broken[1] = value
    with pytest.raises(ValueError, match=field):
        response_map(batch._replace(**{field: broken}), [0.2], [0.2])


def test_batches_without_tokens_or_weight_and_bounds_that_are_no_numbers_are_refused(as_users_see):
    empty = ResponseBatch(*(torch.zeros(0) for _ in range(4)))
    with pytest.raises(ValueError, match="no tokens"):
        response_map(empty, [0.2], [0.2])
    batch = batch_of([(0.0, 1.0, 1.0, 0.0)])
    with pytest.raises(ValueError, match="weight"):
        response_map(batch, [0.2], [0.2])
    for side, lows, highs in (("lows", [math.nan], [0.2]), ("highs", [0.2], [0.2, math.nan])):
        with pytest.raises(ValueError, match=side):
            response_map(batch._replace(weight=None), lows, highs)
    unchecked = as_users_see("response")
    with pytest.raises(ValueError, match=r"advantages must be flat, one value for each of 1 tokens, got \(2,\)"):
        unchecked.response_map(batch._replace(advantages=torch.ones(2)), [0.2], [0.2])
