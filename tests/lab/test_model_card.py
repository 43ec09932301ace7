"""The model card says what it was given, and nothing that changes from run to run."""

import pytest

from entrostat.lab.evaluate import scores
from entrostat.lab.model_card import model_card
from entrostat.lab.tasks import TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_card_holds_the_numbers_the_command_and_the_licence(task):
    correct = [0, 1, 2, 4, 4, 0, 3, 1]
    found = {**scores(correct, 4), "entropy": 0.41249, "correct": correct, "samples": 4}
    cold = {**scores([4, 0, 4, 4, 4, 0, 4, 1], 4), "entropy": 0.02, "correct": correct, "samples": 4}
    card = model_card(
        task,
        command="entrostat pretrain --seed 9",
        prompt="1=",
        answer="2",
        parameters=242_112,
        by_temperature={1.0: found, 0.1: cold},
    )
    low, high = found["mean@4"]["low"], found["mean@4"]["high"]
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "\n    entrostat pretrain --seed 9\n" in card
    assert f"| pass@1 | 0.469 [{low:.3f}, {high:.3f}] |" in card  # 15 of 32
    assert "| pass@4 | 0.750 [" in card  # 6 of 8
    assert "included | 0.412 |" in card
    assert f"\n    entrostat evaluate DIR --task {task.name} --problems 8 --samples 4\n" in card
    assert "On 8 test problems x 4 samples at temperature 1" in card
    assert f"at most {task.max_completion}\ntokens. {task.held_out_means}\n" in card
    assert "\n    1=\n    2\n" in card
    assert "\n| 1.0 | 0.469 | 0.750 | 0.412 |\n| 0.1 | 0.656 | 0.750 | 0.020 |\n" in card
    size = task.model_size
    assert f"of 0.24M parameters (hidden {size.hidden}, {size.layers} layers, {size.heads} heads, MLP\n" in card
    assert f"The answers\nare {task.demonstrations}.\n" in card
    assert max(map(len, card.splitlines())) <= 120
