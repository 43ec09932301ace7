"""`entrostat report` reads what verl's own loggers write."""

from verl.utils.logger.aggregate_logger import LocalLogger
from verl.utils.tracking import FileLogger

from entrostat.report.read import read_runs

NUMBERS = {"actor/entropy": 0.4, "actor/pg_clipfrac": 0.001, "actor/ppo_kl": 2e-4, "critic/score/mean": 0.25}


def test_the_file_loggers_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(tmp_path / "run.jsonl"))
    logger = FileLogger("project", "experiment")
    for step in (1, 2):
        logger.log(NUMBERS | {"actor/entropy": 0.4 / step}, step)
    logger.finish()
    (run,) = read_runs([tmp_path])
    assert run.known("entropy") == {1: 0.4, 2: 0.2}
    assert run.rows[1] == {"entropy": 0.4, "reward": 0.25, "clipped": 0.001, "policy_kl": 2e-4}


def test_the_console(tmp_path, capsys):
    for step in (1, 2):
        LocalLogger().log(NUMBERS | {"actor/entropy": 0.4 / step}, step)
    (tmp_path / "console.log").write_text(capsys.readouterr().out)
    (run,) = read_runs([tmp_path / "console.log"])
    assert run.known("entropy") == {1: 0.4, 2: 0.2}
    assert run.known("policy_kl") == {1: 2e-4, 2: 2e-4}
