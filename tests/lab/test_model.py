"""The tokenizer and the decoder, as built and as transformers loads them back."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from entrostat.lab.model import CONTEXT, EOS, EOS_ID, PAD, PAD_ID, UNKNOWN, build_model, build_tokenizer
from entrostat.lab.tasks import TASKS

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model's folder."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer("0123456789+-*(),>=")
    build_model(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@every_task
def test_every_prompt_and_answer_round_trips_one_token_a_character(task):
    tokenizer = build_tokenizer(task.alphabet)
    rng = random.Random(0)
    for problem in task.problems(300, split="train", seed=0):
        for text in (problem.prompt, task.solve(problem, rng), task.demonstrate(problem, rng)):
            ids = tokenizer(text)["input_ids"]
            assert len(ids) == len(text)
            assert min(ids) > tokenizer.unk_token_id
            assert tokenizer.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True) == text


def test_special_tokens_are_real_and_apart():
    tokenizer = build_tokenizer("ab")
    assert tokenizer.get_vocab() == {PAD: PAD_ID, EOS: EOS_ID, UNKNOWN: 2, "a": 3, "b": 4}
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token) == (PAD, EOS, UNKNOWN)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer.bos_token is None
    assert len(tokenizer) == 5


def test_pads_on_the_left():
    batch = build_tokenizer("ab")(["a", "bab"], padding=True)
    assert batch["input_ids"] == [[PAD_ID, PAD_ID, 3], [4, 3, 4]]
    assert batch["attention_mask"] == [[0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize("text", ["", "é", "7é", "\x00", "👍", "a\n7 \u0301", "\ud7ff", "x" * 100_000])
def test_unknown_characters_are_dropped_without_a_crash(text):
    ids = build_tokenizer("0123456789")(text)["input_ids"]
    assert ids == [10] * text.count("7")


@pytest.mark.parametrize("alphabet", ["aba", "a b", "é", "a\n", "\x00", "a\x7f"])
def test_bad_alphabets_are_refused(alphabet):
    with pytest.raises(ValueError, match="alphabet") as caught:
        build_tokenizer(alphabet)
    assert "\n" not in str(caught.value)


def test_auto_classes_load_the_same_tokenizer_and_model(folder):
    built = build_tokenizer("0123456789+-*(),>=")
    loaded = AutoTokenizer.from_pretrained(folder)
    texts = ["3,4,7>25=", "(7*4)-3", "é7", ""]
    assert loaded(texts, padding=True) == built(texts, padding=True)
    assert loaded.get_vocab() == built.get_vocab()
    assert loaded.decode([PAD_ID, 5, 6, EOS_ID], skip_special_tokens=True) == "23"
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.unk_token_id) == (0, 1, 2)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.model_type == "qwen2"
    assert model.dtype == torch.float32
    weights = build_model(built, seed=0).state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (EOS_ID, PAD_ID)


def test_model_has_the_documented_size():
    model = build_model(build_tokenizer("0123456789+-*(),>="), seed=0)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (128, 3, 384)
    assert (config.num_attention_heads, config.num_key_value_heads) == (4, 4)
    assert config.max_position_embeddings == CONTEXT
    # embeddings; of each layer q, k, v with bias and o, three MLP matrices, two norms; the last norm
    layer = 4 * 128 * 128 + 3 * 128 + 3 * 128 * 384 + 2 * 128
    assert sum(p.numel() for p in model.parameters()) == 21 * 128 + 3 * layer + 128 == 643_712


@every_task
def test_a_task_gives_its_model_its_size(task):
    size = task.model_size
    model = build_model(build_tokenizer(task.alphabet), seed=0, size=size)
    config = model.config
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (
        size.hidden,
        size.layers,
        size.mlp,
    )
    assert (config.num_attention_heads, config.num_key_value_heads) == (size.heads, size.heads)
    assert config.max_position_embeddings == CONTEXT
    if task.name in ("chain", "times"):
        assert model.num_parameters() < 250_000


def test_weights_follow_the_seed_alone_and_have_the_documented_spread():
    tokenizer = build_tokenizer("abc")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = build_model(tokenizer, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = build_model(tokenizer, seed=3), build_model(tokenizer, seed=4)
    for (name, weight), same, different in zip(
        model.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(weight, same)
        if "norm" in name:
            assert torch.equal(weight, torch.ones_like(weight))
        elif name.endswith("bias"):
            assert torch.equal(weight, torch.zeros_like(weight))
        else:
            assert not torch.equal(weight, different)
            # 6 standard errors
            assert abs(weight.mean().item()) < 6 * 0.02 / weight.numel() ** 0.5
            assert abs(weight.std().item() / 0.02 - 1) < 6 / (2 * weight.numel()) ** 0.5


def test_left_padding_does_not_change_what_follows():
    """Rotary positions are relative, so a shifted prompt gives the same next-token logits."""
    tokenizer = build_tokenizer("abcdef")
    model = build_model(tokenizer, seed=0).eval()
    batch = tokenizer(["abc", "fedcba"], padding=True, return_tensors="pt")
    alone = tokenizer(["abc"], return_tensors="pt")
    with torch.no_grad():
        padded, bare = model(**batch).logits[0, -1], model(**alone).logits[0, -1]
    torch.testing.assert_close(padded, bare, rtol=1e-5, atol=1e-6)
