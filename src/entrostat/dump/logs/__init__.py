"""Rollouts as trainers log them by themselves, which are no dumps: they lack numbers that
the attribution of entropy needs.

    completion  one completion and one rollout, whoever logged them; advantages by group
    verl        trainer.rollout_data_dir, a JSON line per completion
    trl         log_completions, a Parquet file per log line
    slime       --save-debug-rollout-data, a torch file per rollout
    find        which of these a path is, and its rollouts in their order

What is in each stands at the top of its file, with the release whose source it was read
from. Text in them is a model's, so it is data that anybody may have written.
"""

from entrostat.dump.logs.completion import Completion, Known, Rollout, Tokens
from entrostat.dump.logs.find import log_files, read_log

__all__ = ["Completion", "Known", "Rollout", "Tokens", "log_files", "read_log"]
