"""verl's asynchronous trainers under ours, by main_ppo on two ranks, each killed in its third rollout and resumed; and
how old the policies of a batch are."""

import pytest
import torch
from runs import RECORDED, calls, launch, main_ppo, metrics, observed, parameters, same, state, verls_staleness
from settings import ACTOR, BYPASS, asynchronous, dynamic, ours, separate

from entrostat import dump
from entrostat.engines.verl.staleness import Clock, entropy_ages, mean_age, sampler_ages

THERMOSTAT = ours("thermostat", target="0.6x", hold="both", rate=0.5)
KILLED = 2  # the rollout, from 0
SAMPLER = "actor_rollout_ref.rollout.calculate_log_probs=True"


def killed_and_resumed(work, *overrides):
    """A run whose rank 1 is killed in the third rollout, and the same command again."""
    work.mkdir()
    env = {"RIG_LOG": str(work), "VERL_USE_EXTERNAL_MODULES": RECORDED, "VERL_LOGGING_LEVEL": "WARNING"}
    chosen = (*THERMOSTAT, SAMPLER, *overrides)
    done = launch(work, 2, *chosen, **env, RIG_DIE=str(KILLED))
    assert done.returncode != 0
    assert "died" in done.stderr or "Connection closed" in done.stderr or "gloo" in done.stderr
    # verl's logger begins its file anew
    lines = (work / "metrics.jsonl").read_text()
    main_ppo(work, 2, *chosen, **env)
    lines += (work / "metrics.jsonl").read_text()
    (work / "metrics.jsonl").write_text(lines)
    return work


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def colocated(folder):
    return killed_and_resumed(folder / "colocated", *asynchronous("colocate_async"), "trainer.total_training_steps=3")


@pytest.fixture(scope="session")
def separated(folder):
    """Two training steps of two update calls."""
    return killed_and_resumed(folder / "separated", *separate(2, ranks=2), "trainer.total_training_steps=2")


def check(work, rollouts, saved, last):
    """What holds of both: `saved` is the step of the checkpoint before the kill, `last` the run's last step."""
    seen = observed(work)
    # the killed rollout was observed before, and is again after the resume, from the same state
    assert [each["after"]["rollouts"] for each in seen] == [1, 2, 3, *range(3, rollouts + 1)]
    assert seen[KILLED]["before"] == seen[KILLED + 1]["before"] == state(work, saved)["state"]
    assert seen[-1]["after"] == state(work, last)["state"]
    assert [each["summary"]["progress"] for each in seen] == [n / rollouts for n in (0, 1, 2, *range(2, rollouts))]
    # every rank has that state in every call of a rollout, and the thermostat moves
    told = {}
    for rank in (0, 1):
        by_rollout = {}
        for call in calls(work, rank):
            by_rollout.setdefault(call["step"], []).append(call["state"])
        told[rank] = by_rollout
    assert told[0].keys() == told[1].keys() == set(range(rollouts))
    for rollout in set(range(rollouts)) - {KILLED}:
        after = next(each["after"] for each in seen if each["after"]["rollouts"] == rollout + 1)
        assert all(each == after for rank in (0, 1) for each in told[rank][rollout])
    assert told[0][KILLED][-1] == told[1][KILLED][-1] == seen[KILLED + 1]["after"]
    assert len({each["after"]["h"] for each in seen[:KILLED] + seen[KILLED + 1 :]}) == rollouts
    assert seen[0]["after"]["pressure"] < 0
    return seen


@pytest.mark.slow
def test_colocate_async_trains_under_a_thermostat_is_killed_and_goes_on(colocated):
    seen = check(colocated, rollouts=3, saved=2, last=3)
    # verl's pass is made with the weights of now, whatever sampled the tokens
    assert all(each["summary"]["ages"] is None and each["summary"]["updates"] == 4 for each in seen)
    assert not same(parameters(colocated, 1, 2), parameters(colocated, 3, 2))


def test_separate_async_observes_at_each_of_its_update_calls(separated):
    seen = check(separated, rollouts=4, saved=1, last=2)
    # the second call of a step has old log-probabilities of the step's start
    assert [each["summary"]["ages"] for each in seen] == [None, [0.0, 1.0], None, None, [0.0, 1.0]]
    assert all(each["summary"]["updates"] == 2 for each in seen)
    logged = metrics(separated)
    # both calls of step 1 are on samples of version 0, and so are the old log-probabilities of both
    assert logged[1]["entrostat/staleness"] == 0.5
    assert logged[1]["entrostat/sampler_gap"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("work", [pytest.param("colocated", marks=pytest.mark.slow), "separated"])
def test_the_staleness_logged_lies_between_verls_own_in_update_calls(work, request):
    """verl counts training steps, of a completion's last version and of its first; of the calls of a step the mean is
    logged. Where all versions are alike, there is nothing between."""
    a_step = {"colocated": 1, "separated": 2}[work]
    for logged in metrics(request.getfixturevalue(work)).values():
        least, most = verls_staleness(logged)
        within = (a_step - 1) / 2
        assert a_step * least + within <= logged["entrostat/staleness"] <= a_step * most + within


def test_without_a_pass_of_its_own_under_dynamic_batch_sizes_and_three_epochs(folder):
    """Observed is the mean of -ln p of the rollout's own log-probabilities, once a step, however rows are packed; and
    how old the policies are that sampled them."""
    work = folder / "bypassed"
    work.mkdir()
    chosen = [
        *asynchronous("colocate_async"),
        *ours("od"),
        f"+{ACTOR}.policy_loss.dump_every=1",
        *dynamic(112),
        *BYPASS,
    ]
    chosen += [f"{ACTOR}.ppo_epochs=3", f"{ACTOR}.ppo_mini_batch_size=4"]
    main_ppo(work, 2, *chosen, RIG_LOG=str(work), VERL_USE_EXTERNAL_MODULES=RECORDED)
    made = [calls(work, rank) for rank in (0, 1)]
    assert len({call["rows"] for rank in made for call in rank}) > 1, "all micro-batches of one size"
    fresh, stale = (each["summary"]["ages"] for each in observed(work))
    # of the second step's completions some tokens, or all, were sampled before the first update
    assert fresh is None and stale[1] > 0 and sum(stale) == pytest.approx(1)
    assert metrics(work)[2]["entrostat/staleness"] == pytest.approx(stale[1])
    for step in (0, 1):
        least, most = verls_staleness(metrics(work)[step + 1])
        assert least <= metrics(work)[step + 1]["entrostat/staleness"] <= most <= step
        found = [call for rank in made for call in rank if call["step"] == step]
        assert sum(call["rows"] for call in found) == 3 * 16
        assert all(call["state"] == state(work, step + 1)["state"] for call in found)
        assert found[0]["state"]["rollouts"] == step + 1
        surprisal, samples = [], []
        for rank in (0, 1):
            for batch in dump.read(work / "ckpt/entrostat_dumps" / dump.file_name(step, rank, 2)):
                samples += [row["sample"] for row in batch.to_pylist()]
                surprisal += (-dump.per_token(batch)["old_logprobs"]).tolist()
        assert sorted(samples) == sorted([*range(16)] * 3)
        assert metrics(work)[step + 1]["entrostat/entropy"] == pytest.approx(sum(surprisal) / len(surprisal), abs=1e-6)


# How old a batch is, against counting


def age_by_counting(clock, version):
    """Goes through the update calls of a run, and counts those after the weights got their version."""
    calls_made = [
        (step, call) for step in range(1, clock.step + 1) for call in range(clock.calls) if step >= clock.warmup
    ]
    return sum(1 for step, call in calls_made if (version < step) and (step, call) < (clock.step, clock.call))


@pytest.mark.parametrize("calls_a_step", [1, 2, 4])
@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_an_age_is_the_number_of_updates_since(calls_a_step, warmup):
    for step in range(max(warmup, 1), 7):
        for call in range(calls_a_step):
            clock = Clock(step, call, calls_a_step, warmup)
            found = clock.age(torch.arange(step)).tolist()
            assert found == [age_by_counting(clock, version) for version in range(step)]


def tags(*spans):
    return [{"min_global_steps": first, "max_global_steps": last} for first, last in spans]


def test_each_token_counts_by_its_policy_and_padding_not_at_all():
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    # versions 4 (two tokens of three in an interrupted one are halves), 2, 3 to 4, and padding, which has none
    found = sampler_ages([*tags((4, 4), (2, 2), (3, 4)), {"is_padding": True}], mask, Clock(step=5))
    assert found == pytest.approx((5 / 8, 2 / 8, 1 / 8))
    assert mean_age(found) == pytest.approx(0.5)
    later = sampler_ages(tags((4, 4), (2, 2), (3, 4), (0, 0)), mask, Clock(step=5, call=1, calls=2))
    assert later == pytest.approx((0, 5 / 8, 0, 2 / 8, 0, 1 / 8))


def test_whose_entropy_is_measured():
    sampled, fresh = (0.5, 0.0, 0.5), (1.0,)
    assert entropy_ages(Clock(3), sampled, bypass=False) is None
    assert entropy_ages(Clock(3, call=2, calls=4), sampled, bypass=False) == (0.0, 0.0, 1.0)
    assert entropy_ages(Clock(3), sampled, bypass=True) == sampled
    assert entropy_ages(Clock(3), fresh, bypass=True) is None
    nothing_trained = sampler_ages(tags((0, 0)), torch.zeros(1, 2).bool(), Clock(1))
    assert nothing_trained == ()
    assert entropy_ages(Clock(1), nothing_trained, bypass=True) is None


def test_a_batch_without_versions_is_refused_where_they_are_needed():
    without = sampler_ages([{"min_global_steps": 3}], torch.ones(1, 2).bool(), Clock(5))
    assert without is None
    assert entropy_ages(Clock(5), without, bypass=False) is None
    with pytest.raises(ValueError, match="no min_global_steps and max_global_steps") as error:
        entropy_ages(Clock(5), without, bypass=True)
    assert "\n" not in str(error.value)
