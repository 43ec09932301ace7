"""The lab's tokens without a library are those of the shipped tokenizers, and so is what they say."""

import random

import pytest
import torch
from tests.tiny_models import tiny_model
from transformers import AutoTokenizer

from entrostat.lab.characters import SPECIAL, Characters
from entrostat.lab.environment import Tokenizer, lab_environment
from entrostat.lab.tasks import TASKS, make_task


@pytest.fixture(scope="module", params=list(TASKS))
def spelt(request):
    """A task, its characters, and its shipped tokenizer."""
    task = make_task(request.param)
    tokenizer = AutoTokenizer.from_pretrained(task.base_model, padding_side="left")
    return task, Characters(task.alphabet), tokenizer


def test_ids_are_those_of_the_shipped_tokenizer(spelt):
    task, mine, theirs = spelt
    assert mine.size == len(theirs)
    assert [theirs.convert_tokens_to_ids(token) for token in SPECIAL] == list(range(len(SPECIAL)))
    for split in ("train", "test"):
        prompts = [problem.prompt for problem in task.problems(150, split=split, seed=4)]
        for some in (prompts, prompts[:1], [task.alphabet, prompts[0]]):
            ids, mask = mine.encode(some)
            wanted = theirs(some, return_tensors="pt", padding=True)
            assert torch.equal(ids, wanted["input_ids"])
            assert torch.equal(mask, wanted["attention_mask"].bool())
            again = Tokenizer(theirs).encode(some)
            assert torch.equal(again[0], ids) and torch.equal(again[1], mask)


def test_texts_are_those_of_the_shipped_tokenizer(spelt):
    """Of any ids of the vocabulary, special ones in the middle and filler behind the mask among them."""
    task, mine, theirs = spelt
    rng = random.Random(5)
    ids = torch.tensor([[rng.randrange(mine.size) for _ in range(12)] for _ in range(200)])
    mask = torch.tensor([[t < length for t in range(12)] for length in (rng.randrange(13) for _ in range(200))])
    wanted = Tokenizer(theirs).decode(ids, mask)
    assert mine.decode(ids, mask) == wanted
    assert mine.decode(torch.where(mask, ids, 10**9), mask) == wanted
    prompts = [problem.prompt for problem in task.problems(20, split="train", seed=1)]
    assert mine.decode(*mine.encode(prompts)) == prompts


@pytest.mark.parametrize("strange", [-1, 21, 10**9, -(2**62)])
def test_an_id_of_no_token_is_refused(strange):
    """A negative one would otherwise count from the end of the alphabet."""
    characters = Characters(make_task("countdown").alphabet)
    ids = torch.tensor([[3, strange], [4, 5]])
    with pytest.raises(ValueError, match="not all in a vocabulary of 21"):
        characters.decode(ids, torch.ones(2, 2, dtype=torch.bool))
    assert characters.decode(ids, torch.tensor([[True, False], [True, True]])) == ["0", "12"]
    assert characters.decode(ids[:0], torch.ones(0, 2, dtype=torch.bool)) == []


@pytest.mark.parametrize("prompt", ["1,2>é", "1 2", "1\n", "<eos>", "\x00", "1,2>3="[:-1] + "\u202e"])
def test_a_character_outside_the_alphabet_is_named(prompt):
    with pytest.raises(ValueError, match="alphabet has no") as said:
        Characters(make_task("countdown").alphabet).encode(["1,2>3=", prompt])
    assert str(said.value).isprintable() and str(said.value).isascii()


def test_a_users_tokenizer_spells_the_task(tmp_path):
    """A byte-level one; without a padding token it pads with the end of a text."""
    folder = tiny_model(tmp_path / "m", "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    environment, where = lab_environment("countdown", str(folder))
    assert where == folder
    prompts = [problem.prompt for problem in environment.task.problems(20, split="train", seed=1)]
    ids, mask = environment.spelling.encode(prompts)
    assert not mask.all() and mask[:, -1].all(), "padded on the left"
    assert environment.spelling.decode(ids, mask) == prompts
