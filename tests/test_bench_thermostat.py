"""bench/thermostat.py: the runs are ones that `entrostat train` takes."""

from bench_scripts import load
from entrostat.cli.train import _parsed


def test_every_run_of_a_known_setting_is_one_that_train_takes():
    bench = load("thermostat")
    checked = set()
    for job in bench.jobs():
        if bench.NOT_CHOSEN[0] in job.method or (job.part, job.row) in checked:
            continue
        options, method = _parsed(job.words)
        assert method is not None
        assert options.run.seed == job.seed
        checked.add((job.part, job.row))
    assert {row for part, row in checked if part == "settings"} >= {"REPO-R / --zeta-max 0.5", "MAI / --delta 0.25"}
