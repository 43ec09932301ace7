"""The region meter against scalar sums, and its sampling against the whole."""

import math

import pytest
import torch

import reference
from entrostat import Region, ResponseBatch, TokenStats, clip_events, response_map, token_stats
from entrostat.engines.meter import REGIONS, RegionMeter, Window

B, T, V = 4, 6, 7
LOW, HIGH = 0.1, 0.2
DROPPED = torch.zeros(B, T, dtype=torch.bool)
DROPPED[1, 0] = DROPPED[2, 1] = True


def batch(seed):
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(B, T, V, generator=g)
    ids = torch.randint(V, (B, T), generator=g)
    logratio = 0.4 * torch.randn(B, T, generator=g)
    advantages = torch.randn(B, 1, generator=g)
    advantages[0] = 0.0
    mask = torch.rand(B, T, generator=g) < 0.7
    mask[1, 0] = mask[2, 1] = True
    return logits, ids, logratio, advantages, mask


def add(meter, logits, ids, logratio, advantages, mask, **extra):
    stats = token_stats(logits, ids)
    events = clip_events(logratio, advantages.expand_as(logratio), low=LOW, high=HIGH)
    known = TokenStats(stats.logprobs, stats.entropy)
    at = lambda flat: TokenStats(*(x.reshape(-1)[flat][None] for x in stats))  # noqa: E731
    meter.add(known, logratio, advantages, events, mask, dropped=DROPPED, full_stats=at, **extra)


def expected(batches, change):
    sums = dict.fromkeys(["clip_low", "clip_high", "dropped"], 0.0)
    sums |= {f"{r.name}/{k}": 0.0 for r in REGIONS for k in ("share", "kept", "clipped")}
    tokens = 0
    for logits, ids, logratio, advantages, mask in batches:
        for b, t in mask.nonzero().tolist():
            z, a = logits[b, t].tolist(), int(ids[b, t])
            lr, adv = float(logratio[b, t]), float(advantages[b, 0])
            event = reference.clip_event(lr, adv, LOW, HIGH)
            logprob, entropy = reference.stats(z, a)[:2]
            region = Region(reference.region(logprob, entropy, adv)).name
            tokens += 1
            sums["clip_low"] += event == "low"
            sums["clip_high"] += event == "high"
            sums["dropped"] += bool(DROPPED[b, t])
            if region != "NONE":
                sums[f"{region}/share"] += 1
                sums[f"{region}/{'clipped' if event else 'kept'}"] += change(z, a, lr, adv)
    return {k: v / tokens for k, v in sums.items()}


def own_term(z, a, logratio, advantage):
    logprob, entropy = reference.stats(z, a)[:2]
    return -advantage * math.exp(logratio) * math.exp(logprob) * (logprob + entropy)


def test_the_window_is_the_scalar_sums_over_micro_batches_of_any_size():
    batches = [batch(seed) for seed in range(3)]
    meter = RegionMeter()
    for one in batches:
        add(meter, *one)
    found = meter.read()
    for key, value in expected(batches, reference.entropy_change).items():
        key = key.replace("kept", "change_kept").replace("clipped", "change_clipped")
        assert found.pop(key) == pytest.approx(value, rel=1e-5, abs=1e-7), key
    assert found == {}
    assert meter.read() == {}


def test_without_the_sums_it_is_the_own_term_under_its_own_name():
    logits, ids, logratio, advantages, mask = one = batch(5)
    stats = token_stats(logits, ids)
    events = clip_events(logratio, advantages.expand_as(logratio), low=LOW, high=HIGH)
    meter = RegionMeter()
    meter.add(TokenStats(stats.logprobs, stats.entropy), logratio, advantages, events, mask, dropped=DROPPED)
    found = meter.read()
    for key, value in expected([one], own_term).items():
        key = key.replace("kept", "own_term_kept").replace("clipped", "own_term_clipped")
        assert found.pop(key) == pytest.approx(value, rel=1e-5, abs=1e-7), key
    assert found == {}


@pytest.mark.parametrize("share", [0.1, 0.34, 0.5])
def test_the_sample_is_unbiased(share):
    """The mean over equally spaced starts is the integral over the uniform draw, so it is the whole, not near it."""
    one = batch(7)
    tokens = int(one[-1].sum())
    chosen = max(1, math.ceil(share * tokens))
    whole = RegionMeter()
    add(whole, *one)
    target = whole.read()
    starts = 5 * tokens // math.gcd(tokens, chosen)
    means = dict.fromkeys(target, 0.0)
    for i in range(starts):
        meter = RegionMeter()
        add(meter, *one, sample=torch.tensor((i + 0.5) / starts), share=share)
        for key, value in meter.read().items():
            means[key] += value / starts
    for key, value in target.items():
        assert means[key] == pytest.approx(value, rel=2e-3, abs=2e-5), key


def test_masked_tokens_never_matter():
    logits, ids, logratio, advantages, mask = batch(9)
    clean, dirty = RegionMeter(), RegionMeter()
    add(clean, logits, ids, logratio, advantages, mask)
    logits = torch.where(mask[..., None], logits, torch.nan)
    logratio = torch.where(mask, logratio, torch.nan)
    add(dirty, logits, ids, logratio, advantages, mask)
    assert clean.read() == dirty.read()


def test_ranks_weigh_by_their_tokens():
    """Summing two ranks' sums is the window of both."""
    second, both = RegionMeter(), RegionMeter()
    add(second, *batch(2))
    first = RegionMeter(lambda sums: sums + second.sums)
    add(first, *batch(1))
    add(both, *batch(1))
    add(both, *batch(2))
    assert first.read() == pytest.approx(both.read())


def test_a_batch_without_trained_tokens_adds_nothing():
    logits, ids, logratio, advantages, mask = batch(3)
    meter = RegionMeter()
    add(meter, logits, ids, logratio, advantages, torch.zeros_like(mask))
    assert set(meter.read().values()) == {0.0}


def kept_by(meter):
    found = meter.read()
    return sum(found[f"{r.name}/change_kept"] for r in REGIONS), sum(found[f"{r.name}/change_clipped"] for r in REGIONS)


def test_tokens_are_kept_when_asked_with_all_that_a_map_needs():
    """Token by token against scalars: at the window in force their map is the window's own change, kept and clipped."""
    batches = [batch(seed) for seed in range(3)]
    meter = RegionMeter()
    for one in batches:
        add(meter, *one, keep=Window(one[2], LOW, HIGH))
    tokens = meter.take_tokens()
    expected = []
    for logits, ids, logratio, advantages, mask in batches:
        for b, t in mask.nonzero().tolist():
            z, a, lr, adv = logits[b, t].tolist(), int(ids[b, t]), float(logratio[b, t]), float(advantages[b, 0])
            change = reference.entropy_change(z, a, lr, adv)
            clipped = reference.clip_event(lr, adv, LOW, HIGH) is not None
            expected.append((lr, adv, change, 1.0, LOW, HIGH, clipped))
    for ours, column in zip(tokens, zip(*expected, strict=True), strict=True):
        assert ours.tolist() == pytest.approx(column, rel=1e-5, abs=1e-7)
    kept, clipped = kept_by(meter)
    found = response_map(ResponseBatch(*tokens[:4]), [LOW, 1.0], [HIGH, math.inf])
    assert float(found[0, 0]) == pytest.approx(kept, rel=1e-5)
    assert float(found[1, 1]) == pytest.approx(kept + clipped, rel=1e-5)
    assert meter.take_tokens() is None


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_sample_of_tokens_weighs_as_the_meter_does(share):
    """Also with micro-batches of unequal size and bounds per token."""
    meter = RegionMeter()
    total = 0
    for seed in range(3):
        logits, ids, logratio, advantages, mask = batch(seed)
        mask[seed + 1 :] &= seed > 0
        total += int(mask.sum())
        low, high = torch.full_like(logratio, LOW), torch.full_like(logratio, HIGH)
        window = Window(logratio, low, high)
        add(meter, logits, ids, logratio, advantages, mask, sample=torch.tensor(0.3), share=share, keep=window)
    tokens = meter.take_tokens()
    assert len(tokens.change) < total
    assert float(tokens.weight.sum()) == pytest.approx(total, rel=1e-6)
    kept, _ = kept_by(meter)
    assert float(response_map(ResponseBatch(*tokens[:4]), [LOW], [HIGH])) == pytest.approx(kept, rel=1e-5)


def test_the_ratio_that_is_clipped_may_be_another_than_the_token_s():
    """Under a ratio a sequence the map must move by that one, while the change stays the token's."""
    one = batch(4)
    level = one[2].mean(-1, keepdim=True).expand_as(one[2])
    meter, plain = RegionMeter(), RegionMeter()
    add(meter, *one, keep=Window(level, LOW, HIGH))
    add(plain, *one, keep=Window(one[2], LOW, HIGH))
    tokens, own = meter.take_tokens(), plain.take_tokens()
    assert torch.equal(tokens.logratio, level[one[-1]])
    assert torch.equal(tokens.change, own.change)


def test_nothing_is_kept_unasked_or_where_the_change_is_not_exact():
    logits, ids, logratio, advantages, mask = one = batch(6)
    meter = RegionMeter()
    add(meter, *one)
    assert meter.take_tokens() is None
    stats = token_stats(logits, ids)
    events = clip_events(logratio, advantages.expand_as(logratio), low=LOW, high=HIGH)
    window = Window(logratio, LOW, HIGH)
    known = TokenStats(stats.logprobs, stats.entropy)
    meter.add(known, logratio, advantages, events, mask, dropped=DROPPED, keep=window)
    assert meter.take_tokens() is None
    add(meter, logits, ids, logratio, advantages, torch.zeros_like(mask), keep=window)
    assert meter.take_tokens() is None
