"""Scores against counts made by hand, and the sampler against exact enumeration."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import reference
from entrostat.lab.evaluate import evaluate, held_out, sample, scores
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(TASK.base_model, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left")


def test_scores_are_the_unbiased_estimates_of_the_counts():
    correct, n = [0, 1, 3, 8, 8], 8
    found = scores(correct, n)
    assert found["mean@8"]["value"] == pytest.approx(sum(correct) / n / 5)
    assert list(found["pass@k"]) == ["1", "2", "4", "8"]
    for k, interval in found["pass@k"].items():
        exact = sum(float(reference.pass_at_k(n, c, int(k))) for c in correct) / 5
        assert interval["value"] == pytest.approx(exact)
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert found["pass@8"] == found["pass@k"]["8"]


def test_a_number_of_samples_that_is_no_power_of_two_has_its_own_point():
    assert list(scores([1, 2], 6)["pass@k"]) == ["1", "2", "4", "6"]


def test_the_samplers_first_token_is_the_models(base):
    model, tokenizer = base
    prompt = held_out(TASK, 1)[0].prompt
    drawn = sample(model, tokenizer, [prompt], samples=4000, max_completion=1, batch=1000)
    with torch.no_grad():
        logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].double()
    p = logits.softmax(-1)
    entropy = float(-(p * p.log()).sum())
    assert drawn.entropy == pytest.approx(entropy, rel=1e-4)
    for token in p.topk(4).indices.tolist():
        text = tokenizer.decode([token], skip_special_tokens=True)
        share = sum(t == text for t in drawn.texts) / 4000
        sd = math.sqrt(float(p[token] * (1 - p[token])) / 4000)
        assert abs(share - float(p[token])) < 5 * sd


def test_entropy_counts_tokens_up_to_the_first_end_alone(base):
    """Batches of other sizes pad otherwise, and must give the same entropy of the same samples."""
    model, tokenizer = base
    prompts = [p.prompt for p in held_out(TASK, 3)]
    drawn = sample(model, tokenizer, prompts, samples=8, max_completion=TASK.max_completion)
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in drawn.texts]
    total, tokens = 0.0, 0
    for i, completion in enumerate(ids):
        prompt = tokenizer(prompts[i // 8])["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].double()
        p = logits.softmax(-1)
        total += float(-(p * p.log()).sum())
        tokens += len(completion)
    assert drawn.entropy == pytest.approx(total / tokens, rel=1e-4)


def test_scoring_moves_no_generator_and_repeats(base):
    model, tokenizer = base
    model.train()
    before = torch.get_rng_state()
    first = evaluate(model, tokenizer, TASK, problems=3, samples=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert evaluate(model, tokenizer, TASK, problems=3, samples=4) == first


def test_held_out_problems_are_a_fixed_draw_of_the_test_split():
    assert held_out(TASK, 4) == held_out(TASK, 8)[:4]
    train = {p.key for p in TASK.problems(500, split="train", seed=0)}
    assert train.isdisjoint(p.key for p in held_out(TASK, 128))
