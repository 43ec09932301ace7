"""Made-up dumps on disk."""

import pytest

from entrostat import dump
from made_up_dumps import made_up
from report.conftest import browser

__all__ = ["browser"]


@pytest.fixture
def make_dump(tmp_path):
    """Writes made-up rollouts, one file each, to a folder; the folder and the reference's tokens."""

    def make(seeds=(0,), *, without=(), folder="dump", **options):
        tokens = []
        for step, seed in enumerate(seeds):
            columns, found = made_up(seed, step=step, **options)
            tokens += found
            (tmp_path / folder).mkdir(exist_ok=True)
            kept = {name: value for name, value in columns.items() if name not in without}
            dump.write(tmp_path / folder / dump.file_name(step), **kept, overwrite=True)
        return tmp_path / folder, tokens

    return make
