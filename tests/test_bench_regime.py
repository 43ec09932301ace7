"""bench/regime.py: exponents of made-up cells are those that they were made with; its tables are up to date."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bench_scripts import load
from entrostat.lab.paired import Branch, PairedRollout
from entrostat.lab.point import Point

ROOT = Path(__file__).parents[1]
SEEDS, ROLLOUTS = 4, 16
EPS = (0.2, 0.05, 0.0125, 0.003)
SHARES = (0.01, 0.02, 0.04, 0.08)


@pytest.fixture(scope="module")
def fits():
    return load("regime_fits")


@pytest.fixture(scope="module")
def page():
    return load("regime_page")


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "docs" / "results" / "regime.json").read_text())


def noisy(mean, spread, rng, seeds=SEEDS):
    return mean + spread * rng.standard_normal((seeds, ROLLOUTS))


RATES = [1e-5, 2e-5, 4e-5, 8e-5]


@pytest.mark.parametrize("exponent", [-0.5, 1.0, 2.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_law_is_found_whatever_its_sign(fits, exponent, sign):
    rng = np.random.default_rng(1)
    values = [noisy(sign * 3 * (x / 2e-5) ** exponent, 0.3, rng) for x in RATES]
    found = fits.law(RATES, values)
    assert found.known and found.low <= exponent <= found.high
    assert found.value == pytest.approx(exponent, abs=0.1) and found.high - found.low < 0.3


def test_an_exact_law_has_its_exponent_on_the_grid(fits):
    rng = np.random.default_rng(2)
    noise = noisy(0.0, 1e-3, rng)
    values = [5 * x**1.5 * (1 + noise - noise.mean()) for x in RATES]
    assert fits.law(RATES, values).value == 1.5


def test_means_that_may_be_0_take_part_by_their_weight(fits):
    """Two small cells of either sign leave the exponent to the larger ones; in logarithms they would decide it."""
    rng = np.random.default_rng(3)
    values = [noisy(mean, spread, rng) for mean, spread in ((-0.02, 40.0), (0.01, 40.0), (16, 1.0), (64, 1.0))]
    assert fits.law(RATES, values).value == pytest.approx(2, abs=0.1)


def test_noise_alone_has_no_exponent(fits):
    rng = np.random.default_rng(4)
    found = fits.law(RATES, [noisy(0.0, 1.0, rng) for _ in RATES])
    assert not found.known


def test_a_seed_of_its_own_widens_the_interval(fits):
    """Rollouts of a seed that are alike count as fewer."""
    rng = np.random.default_rng(5)
    apart = [x**2 * noisy(1.0, 0.3, rng, seeds=16) for x in RATES]
    alike = [np.broadcast_to(each[:, :1], each.shape) + 1e-6 * each for each in apart]
    width = lambda found: found.high - found.low  # noqa: E731
    assert width(fits.law(RATES, alike)) > 2 * width(fits.law(RATES, apart))


def test_no_law_without_two_cells_that_vary(fits):
    still = np.ones((SEEDS, ROLLOUTS))
    for values in ([noisy(1.0, 0.1, np.random.default_rng(0))], [still, still]):
        with pytest.raises(ValueError, match="two cells at least"):
            fits.law(RATES[: len(values)], values)


def made_up(fits, rate, rng, *, responses=256, updates=8, wide=1.0):
    """A cell's rows: drift goes as rate^2, KL as rate^2, the odd part as rate^1 times the log of the share."""
    of = rate / 2.5e-5
    point = Point(prompts=responses // 16, updates_per_rollout=updates, learning_rate=rate, length=ROLLOUTS)
    rows = []
    for seed in range(SEEDS):
        for rollout in range(ROLLOUTS):
            noise = lambda size: size * rng.standard_normal()  # noqa: E731
            base = 1.0 + of**2 * (0.01 + noise(0.001))
            branches = [Branch(base, 0.5, of**2 * (1e-3 + noise(1e-4)), 0.1, 0.0, 0.0, 1.0)]
            for share in SHARES:
                odd = of * (responses / 256) ** 0.5 * (math.log(share * wide / 0.001) + noise(0.1)) * 1e-3
                even = noise(0.01)
                for sign, sides in ((1, (share * wide, 0.0)), (-1, (0.0, share * wide))):
                    branches.append(Branch(base + even + sign * odd, 0.5, 1e-3, 0.1, *sides, 1.0))
            rows.append(PairedRollout(seed, rollout, 1.0, branches))
    return fits.cell(f"{rate:g}-{responses}", point, EPS, rows)


def test_fits_of_a_made_up_map(fits):
    rng = np.random.default_rng(6)
    cells = [made_up(fits, rate, rng, wide=rate / 2.5e-5) for rate in (1.25e-5, 2.5e-5, 5e-5)]
    cells += [made_up(fits, 2.5e-5, rng, responses=n, updates=16) for n in (1024, 4096)]
    np.testing.assert_allclose(cells[1].shares, SHARES)
    found = {(one["quantity"], one["at"], one["against"]): one for one in fits.fits(cells)}
    # three cells span .005 to .04, .01 to .08 and .02 to .16 of the tokens
    share = f"{math.sqrt(0.02 * 0.04):.2%} of tokens clipped"
    wanted = {
        ("drift", "mean", "learning rate"): 2,
        ("drift", "root mean square", "learning rate"): 2,
        ("KL", "mean", "learning rate"): 2,
        ("odd part", share, "learning rate"): 1,
        ("odd part", "2.83% of tokens clipped", "responses"): 0.5,
        ("odd part", "threshold 0.05", "responses"): 0.5,
    }
    for key, exponent in wanted.items():
        assert found[key]["exponent"]["value"] == pytest.approx(exponent, abs=0.06) and found[key]["known"]
    # at one threshold a larger step clips more: over 1
    assert found["odd part", "threshold 0.05", "learning rate"]["exponent"]["low"] > 1.1
    assert json.loads(json.dumps(found[next(iter(found))], allow_nan=False))


def test_the_batch_is_taken_with_the_most_updates(fits):
    rng = np.random.default_rng(7)
    cells = [made_up(fits, 2.5e-5, rng, updates=updates) for updates in (16, 8, 4)]
    assert [each.updates for each in fits.batches(cells)] == [16]


def test_cells_without_a_common_share_have_none(fits):
    rng = np.random.default_rng(8)
    cells = [made_up(fits, 2.5e-5, rng, wide=wide) for wide in (1.0, 10.0)]
    with pytest.raises(ValueError, match="no share of clipped tokens"):
        fits.common_share(cells)


def test_the_page_is_what_the_script_makes(page, record):
    text = page.PAGE.read_text()
    assert page.filled(text, record) == text


def test_an_exponent_that_is_not_known_says_so(page):
    fit = {"quantity": "drift", "at": "mean", "against": "learning rate", "theory": 2, "source": "x", "known": False}
    table = page.fits_table([fit | {"exponent": {"value": 2.4, "low": -2.0, "high": 3.0}}])
    assert "| 2.40 [under -2.00, 3.00]: not known from these data | 2 (x) |" in table
