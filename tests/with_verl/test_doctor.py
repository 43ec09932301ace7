"""`entrostat doctor --verl` on a real Ray: each worker is a process of its own, and has the plug-in."""

import json

from entrostat.cli import main


def test_every_worker_of_a_local_ray_has_the_plug_in(capsys):
    assert main(["doctor", "--verl", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["findings"] == []
    assert len({one["pid"] for one in result["workers"]}) == 2
    assert all(one["registered"] and one["error"] is None for one in result["workers"])
