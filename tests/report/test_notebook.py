"""docs/notebook.ipynb runs from top to bottom, in a folder of its own, and has no outputs."""

import json
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)  # our own file
    assert len(names["run"].known("entropy")) == 6
    assert "entropy" in names["run"]._repr_html_()
    assert names["found"]
    assert (tmp_path / "report.html").is_file()
