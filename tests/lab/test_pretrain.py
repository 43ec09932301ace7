"""The warm start: what it trains on, that its folder is complete or absent, and what the shipped models do."""

import math
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from entrostat.lab import pretrain as module
from entrostat.lab.evaluate import evaluate
from entrostat.lab.model import EOS_ID, PAD_ID, build_tokenizer
from entrostat.lab.pretrain import PretrainConfig, pretrain
from entrostat.lab.tasks import TASKS

FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
HEADROOM = {"chain": (0.02, 0.1), "times": (0.2, 0.35)}
"""Tasks whose base model has wrong habits, with the range of its pass@1 at every temperature."""
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def tiny(out, **options):
    small = {"steps": 3, "batch": 4, "warmup": 1, "eval_problems": 3, "eval_samples": 2}
    return PretrainConfig(out=out, **{**small, **options})


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@every_task
def test_same_options_give_the_same_bytes(task, tmp_path):
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    first = pretrain(tiny(tmp_path / "first", task=task.name))
    torch.manual_seed(1)
    torch.set_num_threads(2)
    second = pretrain(tiny(tmp_path / "new" / "second", task=task.name))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert first == second
    assert contents(tmp_path / "first") == contents(tmp_path / "new" / "second")
    assert set(contents(tmp_path / "first")) == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "new"]


def test_seed_and_steps_change_the_weights_and_the_global_generator_stays(tmp_path):
    before = torch.get_rng_state()
    pretrain(tiny(tmp_path / "0"))
    assert torch.equal(torch.get_rng_state(), before)
    pretrain(tiny(tmp_path / "1", seed=1))
    pretrain(tiny(tmp_path / "2", steps=4))
    weights = {(tmp_path / str(i) / "model.safetensors").read_bytes() for i in range(3)}
    assert len(weights) == 3


def test_other_folders_may_read_what_is_written(tmp_path):
    pretrain(tiny(tmp_path / "out"))
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    pretrain(tiny(tmp_path / "out"))
    assert set(contents(tmp_path / "out")) == FILES


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_there_is_refused_and_kept(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "mine").write_text("precious")
    elif kind == "file":
        out.write_text("precious")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="already exists and is not an empty folder") as caught:
        pretrain(tiny(out, steps=10**9))  # refused before any training
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    if kind != "dangling link":
        assert (out / "mine" if kind == "folder" else out).read_text() == "precious"


def test_a_folder_that_fills_up_meanwhile_is_kept(tmp_path):
    out = tmp_path / "out"

    def fill(steps, loss):
        out.mkdir(exist_ok=True)
        (out / "mine").write_text("precious")

    with pytest.raises(FileExistsError, match="already exists and is not an empty folder"):
        pretrain(tiny(out), on_step=fill)
    assert contents(out) == {"mine": b"precious"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path):
    """The weights exceed a limit on file size."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path; from entrostat.lab.pretrain import PretrainConfig, pretrain\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        f"config = PretrainConfig(out=Path({str(tmp_path / 'out')!r}), steps=1, batch=2, eval_problems=2)\n"
        "try: pretrain(config)\n"
        "except OSError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path / 'out'} was not written: ")
    assert "File too large" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_losses_are_reported_and_fall(tmp_path):
    """From ln of the vocabulary, for a model that knows nothing, to less."""
    seen = []
    pretrain(
        tiny(tmp_path / "out", steps=25, batch=16),
        on_step=lambda steps, loss: seen.append((steps, loss)),
    )
    assert [steps for steps, _ in seen] == list(range(1, 26))
    assert seen[0][1] == pytest.approx(math.log(21), rel=0.05)
    assert seen[-1][1] < 0.8 * seen[0][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "contdown"}, "did you mean countdown"),
        ({"steps": 0}, "steps is 0; use at least 1"),
        ({"batch": -1}, "batch is -1; use at least 1"),
        ({"eval_problems": 1}, "eval_problems is 1; use at least 2"),
        ({"eval_samples": 0}, "eval_samples is 0"),
        ({"warmup": -1}, "warmup is -1; use at least 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; use a positive"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; use a positive"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; use a positive"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; use 0 or more"),
    ],
)
def test_bad_options_die_at_construction(tmp_path, options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        PretrainConfig(out=tmp_path / "out", **options)
    assert "\n" not in str(caught.value)


def test_too_many_test_problems_are_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="n is 1000, but countdown has"):
        pretrain(tiny(tmp_path / "out", steps=10**9, eval_problems=1000))
    assert list(tmp_path.iterdir()) == []


def test_command_names_what_differs_from_the_defaults():
    assert PretrainConfig(out=Path("x")).command == "entrostat pretrain --task countdown --out DIR"
    config = PretrainConfig(out=Path("x"), task="path", steps=9, learning_rate=1e-3, seed=4)
    assert config.command == "entrostat pretrain --task path --steps 9 --learning-rate 0.001 --seed 4 --out DIR"


def test_loss_is_on_the_answer_and_its_end_alone():
    ids, labels = module._collate(build_tokenizer("0123456789+="), [("1+2=", "3"), ("7=", "07")])
    one, two, three, seven, zero, plus, equals = (build_tokenizer("0123456789+=").get_vocab()[c] for c in "12370+=")
    assert ids.tolist() == [
        [one, plus, two, equals, three, EOS_ID],
        [seven, equals, zero, seven, EOS_ID, PAD_ID],
    ]
    assert labels.tolist() == [
        [-100, -100, -100, -100, three, EOS_ID],
        [-100, -100, zero, seven, EOS_ID, -100],
    ]


def test_the_warm_start_shows_demonstrations(monkeypatch, tmp_path):
    """A task that shows other answers than the right ones is taught them."""
    shown = []

    def collate(tokenizer, pairs):
        shown.extend(pairs)
        return actual(tokenizer, pairs)

    actual = module._collate
    monkeypatch.setattr(module, "_collate", collate)
    pretrain(tiny(tmp_path / "out", task="chain"))
    task = TASKS["chain"]
    rng = random.Random("chain/answers/0")
    problems = task.problems(12, split="train", seed=0)
    assert shown == [(problem.prompt, task.demonstrate(problem, rng)) for problem in problems]
    assert any(answer != task.solve(problem, rng) for problem, (_, answer) in zip(problems, shown, strict=True))


def test_learning_rate_rises_linearly_then_falls_along_a_half_cosine():
    config = PretrainConfig(out=Path("x"), steps=120, warmup=20)
    factors = [module._learning_rate_factor(step, config) for step in range(121)]
    assert factors[:20] == [(step + 1) / 20 for step in range(20)]
    assert factors[20] == 1.0
    assert factors[70] == pytest.approx(0.5)
    assert factors[45] == pytest.approx(0.5 + 0.5**1.5)
    assert factors[120] == pytest.approx(0.0)


# The shipped models.


@pytest.fixture(scope="module", params=TASKS.values(), ids=TASKS)
def shipped(request):
    """(task, folder, tokenizer, model)."""
    folder = request.param.base_model
    return (
        request.param,
        folder,
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True),
    )


def test_shipped_folder_is_complete_and_small(shipped):
    _, folder, _, _ = shipped
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "model.safetensors").stat().st_size < 3_000_000


def test_shipped_tokenizer_is_the_one_of_the_task(shipped):
    task, _, tokenizer, model = shipped
    assert tokenizer.get_vocab() == build_tokenizer(task.alphabet).get_vocab()
    assert model.config.vocab_size == len(tokenizer)
    for problem in task.problems(50, split="test", seed=0):
        assert tokenizer.decode(tokenizer(problem.prompt)["input_ids"]) == problem.prompt
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (EOS_ID, PAD_ID)


def test_shipped_card_names_the_default_command_and_the_licence(shipped):
    task, folder, _, _ = shipped
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert f"\n    {PretrainConfig(out=Path('x'), task=task.name).command}\n" in card


def card_value(card, name):
    return float(re.search(rf"\| {name} \| ([\d.]+)", card).group(1))


def test_shipped_model_does_what_its_card_says(shipped):
    """On a quarter of the card's problems and half its samples; bands of some 3 standard errors."""
    task, folder, tokenizer, model = shipped
    card = (folder / "README.md").read_text()
    scores = evaluate(model, tokenizer, task, problems=64, samples=16)
    # a problem of a task with headroom is nearly always right or nearly always wrong: scores differ more by problem
    band = 0.12 if task.name in HEADROOM else 0.09
    assert scores["mean@16"]["value"] == pytest.approx(card_value(card, "pass@1"), abs=band)
    assert scores["entropy"] == pytest.approx(card_value(card, r"entropy[^|]*"), abs=0.06)
    if task.name not in HEADROOM:
        assert scores["pass@16"]["value"] > 0.85


def test_shipped_models_start_where_experiments_need_them(shipped):
    task, folder, _, _ = shipped
    card = (folder / "README.md").read_text()
    if task.name in HEADROOM:
        least, most = HEADROOM[task.name]
        means = [float(mean) for mean in re.findall(r"^\| (?:1\.0|0\.\d) \| ([\d.]+)", card, re.MULTILINE)]
        assert len(means) == len(module.TEMPERATURES)
        assert least <= min(means) <= max(means) <= most
        assert card_value(card, "pass@32") > 3 * card_value(card, "pass@1") / 2
    else:
        assert 0.35 <= card_value(card, "pass@1") <= 0.48
        assert card_value(card, "pass@32") > 0.95
        assert 0.35 <= card_value(card, r"entropy[^|]*") <= 0.5


def test_bases_with_headroom_are_small():
    weights = [TASKS[name].base_model / "model.safetensors" for name in HEADROOM]
    assert sum(path.stat().st_size for path in weights) < 3_000_000
