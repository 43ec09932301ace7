"""What is read of Python source is what Python would give GRPOConfig: a stand-in that records is the reference."""

import json
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.doctor.python import read_calls, read_notebook

FORMS = {
    "a plain script": """
        from trl import GRPOConfig, GRPOTrainer
        args = GRPOConfig(
            output_dir="out", num_generations=8, epsilon=0.2, epsilon_high=0.28, loss_type="dapo",
            learning_rate=1e-6, use_vllm=True, generation_kwargs={"top_p": 0.9, "stop": ["\\n"]},
        )
        """,
    "names and arithmetic": """
        import trl
        BATCH, STEPS = 4, 2
        per_device: int = 4
        accumulation = per_device * 2
        lr = 1e-6 / 2
        config = trl.GRPOConfig(per_device_train_batch_size=per_device, gradient_accumulation_steps=accumulation,
                                learning_rate=lr, beta=-0.5 + 1, epsilon_high=float("inf"))
        """,
    "a dictionary of options": """
        from trl import GRPOConfig
        common = dict(num_iterations=2, epsilon=0.1)
        more = {"steps_per_generation": 4}
        args = GRPOConfig(**common, **more, loss_type="grpo")
        """,
    "set afterwards": """
        from trl import GRPOConfig
        args = GRPOConfig(epsilon=0.2)
        args.epsilon = 0.1
        args.num_iterations = 3
        """,
    "a class of one's own": """
        from dataclasses import dataclass
        from trl import GRPOConfig

        @dataclass
        class MyConfig(GRPOConfig):
            epsilon: float = 0.15
            num_iterations: int = 4

        args = MyConfig(num_iterations=2)
        """,
    "in a function": """
        from trl import GRPOConfig

        def main():
            steps = 16
            return GRPOConfig(steps_per_generation=steps, gradient_accumulation_steps=1)

        args = main()
        """,
    "options of a parser": """
        import argparse
        from trl import GRPOConfig
        parser = argparse.ArgumentParser()
        parser.add_argument("--num-generations", type=int, default=8)
        parser.add_argument("--lr", "--learning-rate", dest="lr", type=float, default=1e-6)
        args = parser.parse_args([])
        config = GRPOConfig(num_generations=args.num_generations, learning_rate=args.lr)
        """,
}


def by_python(source, monkeypatch):
    """The fields that a stand-in for the class has at the end."""
    made = []

    class GRPOConfig:
        def __init__(self, **fields):
            defaults = {name: getattr(type(self), name) for name in getattr(type(self), "__annotations__", {})}
            self.__dict__.update(defaults | fields)
            made.append(self)

    monkeypatch.setitem(sys.modules, "trl", types.SimpleNamespace(GRPOConfig=GRPOConfig, GRPOTrainer=None))
    source = source.replace("@dataclass\n", "\n")
    exec(__import__("textwrap").dedent(source), {})
    return [vars(each) for each in made]


def dedented(name):
    return __import__("textwrap").dedent(FORMS[name])


@pytest.mark.parametrize("name", FORMS)
def test_what_is_read_is_what_python_gives(name, monkeypatch):
    calls = read_calls(dedented(name))
    assert [dict(call.fields) for call in calls] == by_python(FORMS[name], monkeypatch)
    assert not any(call.open for call in calls)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("epsilon=args.eps", "args.eps"),
        ("epsilon=os.environ['EPS']", "os.environ['EPS']"),
        ("epsilon=0.2 if fast else 0.3", "0.2 if fast else 0.3"),
        ("epsilon=choose()", "choose()"),
        ("epsilon=twice", "twice"),
        ("epsilon=1 / 0", "1 / 0"),
    ],
)
def test_what_the_source_does_not_show_stays_open(argument, said):
    source = f"from trl import GRPOConfig\ntwice = 1\ntwice = 2\nx = GRPOConfig({argument}, num_iterations=2)"
    (call,) = read_calls(source)
    assert call.open == {"epsilon": said} and call.fields == {"num_iterations": 2}
    assert call.line == 4


def test_fields_that_stand_elsewhere_are_named():
    (call,) = read_calls("from trl import GRPOConfig\nx = GRPOConfig(**load('x.yaml'))")
    assert call.open == {"**load('x.yaml')": "fields that stand elsewhere"}


def test_a_notebook_is_its_code_cells():
    cells = [
        {"cell_type": "markdown", "source": ["GRPOConfig(epsilon=9)"]},
        {"cell_type": "code", "source": ["!pip install trl\n", "%cd x\n", "import trl\n"]},
        {"cell_type": "code", "source": "%%bash\necho GRPOConfig(epsilon=8)"},
        {"cell_type": "code", "source": "if True:\n    !ls\nc = trl.GRPOConfig(epsilon=0.1)"},
    ]
    (call,) = read_calls(read_notebook(json.dumps({"cells": cells})))
    assert call.fields == {"epsilon": 0.1}


NO_NOTEBOOKS = ["{}", "[]", "{", '{"cells": [1]}', '{"cells": [{"cell_type": "code"}]}', "[" * 10_000]


@pytest.mark.parametrize("text", NO_NOTEBOOKS)
def test_what_is_no_notebook_is_one_line(text):
    with pytest.raises(ValueError, match="no notebook that can be read") as caught:
        read_notebook(text)
    assert "\n" not in str(caught.value)


@given(st.text(st.sampled_from("GRPOConfig(ab=1,)\n:*'\"[]{} .-+"), max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        read_calls(text)
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000,
        "x = " + "-" * 50_000 + "1",
        "a = b\nb = a\nc = GRPOConfig(x=a)",
        "GRPOConfig(x=" + "1+" * 3_000 + "1)",
    ],
)
def test_deep_and_circular_source_ends(text):
    try:
        read_calls(text)
    except ValueError as error:
        assert "\n" not in str(error)


def test_nothing_is_executed(tmp_path):
    mark = tmp_path / "mark"
    read_calls(f"from trl import GRPOConfig\nGRPOConfig(epsilon=open({str(mark)!r}, 'w'))")
    assert not mark.exists()
