"""verl's own update_actor, on one rank and on two: bit-equality under constant bounds, and the bounds of each strategy.

(a), (c) and (e) of what has to hold; main_ppo is in test_main_ppo.py.
"""

import json
import subprocess
import sys

import pytest
import torch
from settings import ACTOR, HERE, dynamic, environment, ours
from update_actor import ROWS, batch

from entrostat.engines.window import uncrossed
from entrostat.entropy import TokenStats, token_stats
from entrostat.strategies import STRATEGIES, RolloutSummary, make_strategy, state_to_json

CLIP = (f"{ACTOR}.clip_ratio_low=0.2", f"{ACTOR}.clip_ratio_high=0.28")
LAST = "seq-mean-token-sum-norm"


def state_of(name):
    """A state in which every strategy does what it is for."""
    strategy = make_strategy(name)
    state = strategy.init()
    for progress, entropy in ((0.0, 4.0), (0.1, 1.2)):
        told = {"excess_surprisal": 1.0, "entropy_error": 0.01, "active": 1.0, "updates": 4, "ceiling": 5.6}
        state = strategy.observe(state, RolloutSummary(progress, entropy, **told))
    return state


@pytest.fixture(scope="module", params=[1, 2])
def cases(request, tiny_model, tmp_path_factory):
    """What each rank made of each case."""
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    known = {
        "vanilla": {"overrides": list(CLIP), "state": None},
        "constant": {"overrides": ours("clip-higher"), "state": {}},
        "vanilla, dynamic batch sizes": {"overrides": [*CLIP, *dynamic(10)], "state": None},
        "constant, dynamic batch sizes": {"overrides": [*ours("clip-higher"), *dynamic(10)], "state": {}},
    }
    if request.param == 1:
        mode = f"{ACTOR}.loss_agg_mode={LAST}"
        known |= {
            "vanilla of a mode": {"overrides": [*CLIP, mode, f"{ACTOR}.clip_ratio_c=1.1"], "state": None},
            "constant of a mode": {
                "overrides": [*ours("clip-higher"), mode, f"{ACTOR}.clip_ratio_c=1.1"],
                "state": {},
            },
        }
    names = STRATEGIES if request.param == 1 else ["thermostat"]
    for name in names:
        known[name] = {"overrides": ours(name), "state": state_to_json(state_of(name))}
    job = {"model": tiny_model, "out": str(folder / "out"), "ranks": request.param, "cases": known}
    (folder / "cases.json").write_text(json.dumps(job))
    command = [sys.executable, str(HERE / "update_actor.py"), str(folder / "cases.json")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"out-rank{rank}.pt", weights_only=False) for rank in range(request.param)]


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_constant_bounds_leave_verls_parameters_bit_by_bit(cases):
    for out in cases:
        assert same(out["vanilla"]["parameters"], out["constant"]["parameters"])
        assert out["constant"]["seen"] and not out["vanilla"]["seen"]
        vanilla, packed = (out[f"{name}, dynamic batch sizes"] for name in ("vanilla", "constant"))
        assert same(vanilla["parameters"], packed["parameters"])
        assert {len(old) for old, *_ in packed["seen"]} != {2}
        if "vanilla of a mode" in out:
            other = out["vanilla of a mode"]["parameters"]
            assert same(other, out["constant of a mode"]["parameters"])
            assert not same(other, out["vanilla"]["parameters"])


def test_verls_metrics_stay_and_ours_stand_beside_them(cases):
    stock, ours_ = (cases[0][name]["metrics"] for name in ("vanilla", "constant"))
    assert ours_.keys() - stock.keys() == {name for name in ours_ if name.startswith("actor/entrostat/sums/")}
    for name in ("actor/pg_loss", "actor/pg_clipfrac", "actor/ppo_kl", "grad_norm"):
        assert ours_[name] == stock[name], name
    assert "actor/entrostat/sums/E1/own_term_kept" in ours_


def test_every_strategys_bounds_reach_the_loss(cases, tiny_model):
    """As the TRL engine sets them: the strategy's, of the old policy's statistics, made fit for a clamp."""
    for out in cases:
        for name in [name for name in out if name in STRATEGIES]:
            strategy, seen = make_strategy(name), out[name]["seen"]
            assert sum(len(old) for old, *_ in seen) == 2 * ROWS // len(cases)  # two epochs
            for old, entropy, advantages, mask, low, high in seen:
                expected = strategy.bounds(state_of(name), TokenStats(old, entropy))
                if strategy.per_token:
                    expected = uncrossed(expected, advantages, mask)
                for got, wanted in zip((low, high), expected, strict=True):
                    assert torch.equal(torch.as_tensor(got).expand_as(wanted)[mask], wanted[mask]), name


def test_the_old_policys_statistics_are_those_of_the_model(cases, tiny_model):
    """Log-probabilities and entropies that verl hands the loss, against the model's logits."""
    from transformers import AutoModelForCausalLM

    whole = batch().batch
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        ids, mask = whole["input_ids"], whole["attention_mask"]
        logits = model(ids, attention_mask=mask, position_ids=whole["position_ids"]).logits
    width = whole["responses"].size(1)
    stats = token_stats(logits[:, -width - 1 : -1], whole["responses"])
    trained = whole["response_mask"].bool()
    found = [torch.cat([out["constant"]["first"][name] for out in cases]) for name in ("old", "entropy")]
    assert stats.entropy is not None
    for got, wanted in zip(found, (stats.logprobs, stats.entropy), strict=True):
        assert torch.allclose(got[trained], wanted[trained], atol=2e-5, rtol=0)


def test_other_bounds_make_other_parameters(cases):
    for out in cases:
        for name in [name for name in ("thermostat", "clip-lower", "dcpo") if name in out]:
            assert not same(out["constant"]["parameters"], out[name]["parameters"]), name
