"""Scores against counts made by hand, and the sampler against exact enumeration and against plain transformers."""

import copy
import math

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

import reference
from entrostat.data.prompts import ends
from entrostat.entropy import token_stats
from entrostat.lab.evaluate import evaluate, held_out, sample, scores
from entrostat.lab.tasks import make_task

TASK = make_task("countdown")


def base_of(task):
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(task.base_model, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(task.base_model, padding_side="left")


@pytest.fixture(scope="module")
def base():
    return base_of(TASK)


@torch.no_grad()
def plainly(model, tokenizer, prompts, max_completion, temperature, batch, seed=7):
    """Texts and entropy by transformers' generate under the tokenizer's end alone, and one forward pass a batch."""
    texts, total, tokens = [], 0.0, 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(prompts), batch):
            inputs = tokenizer(prompts[start : start + batch], return_tensors="pt", padding=True, padding_side="left")
            ids, prompt_mask = inputs["input_ids"], inputs["attention_mask"]
            chosen = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            ends_at = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
            whole = model.generate(
                input_ids=ids, attention_mask=prompt_mask, max_new_tokens=max_completion, **chosen, **ends_at
            )
            completions = whole[:, ids.size(1) :]
            texts += tokenizer.batch_decode(completions, skip_special_tokens=True)
            ended = completions == tokenizer.eos_token_id
            mask = (ended.cumsum(1) - ended.long()) == 0
            attention = torch.cat([prompt_mask, mask.long()], dim=1)
            keep = completions.size(1) + 1
            logits = model(input_ids=whole, attention_mask=attention, logits_to_keep=keep).logits[:, :-1]
            entropy = token_stats(logits, completions, temperature=temperature).entropy
            total, tokens = total + float(torch.where(mask, entropy, 0).sum()), tokens + int(mask.sum())
    return texts, total / tokens


@pytest.mark.parametrize("name", ["countdown", "path"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_labs_own_models_are_sampled_to_the_last_bit_as_ever(name, temperature):
    """Results are committed: of these models nothing may move, neither a sample nor a bit of the entropy."""
    task = make_task(name)
    model, tokenizer = base_of(task)
    prompts = [p.prompt for p in held_out(task, 40)]
    limits = {"max_completion": task.max_completion, "temperature": temperature}
    drawn = sample(model, tokenizer, prompts, samples=16, **limits)
    assert drawn == plainly(model, tokenizer, [p for p in prompts for _ in range(16)], batch=512, **limits)
    assert len(set(drawn.texts)) > 100


def test_a_models_own_settings_do_not_enter(base):
    model, tokenizer = base
    prompts = [p.prompt for p in held_out(TASK, 4)]
    limits = {"samples": 8, "max_completion": TASK.max_completion}
    bent = copy.deepcopy(model)
    own = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 2, "min_new_tokens": 12, "min_p": 0.5, "typical_p": 0.5}
    bent.generation_config.update(**own, epsilon_cutoff=0.1, eta_cutoff=0.1, top_p=0.1, top_k=3, temperature=0.1)
    assert sample(bent, tokenizer, prompts, **limits) == sample(model, tokenizer, prompts, **limits)
    assert bent.generation_config.repetition_penalty == 5.0


def test_a_completion_ends_at_every_id_that_the_model_declares(base, tmp_path):
    """As TRL's do: the entropy of what stands behind would be that of no sample."""
    model, tokenizer = copy.deepcopy(base[0]), base[1]
    stop = tokenizer("-")["input_ids"][-1]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, stop]
    prompts = [p.prompt for p in held_out(TASK, 3)]
    drawn = sample(model, tokenizer, prompts, samples=8, max_completion=TASK.max_completion)
    assert {text.find("-") for text in drawn.texts} > {-1}
    assert all("-" not in text[:-1] for text in drawn.texts)
    ids = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] * (text[-1:] != "-") for text in drawn.texts]
    assert drawn.entropy == pytest.approx(entropy_by_hand(model, tokenizer, prompts, ids), rel=1e-4)
    args = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    data = Dataset.from_list([{"prompt": prompts[0]}])
    trainer = GRPOTrainer(model, lambda **_: [], args=args, train_dataset=data, processing_class=tokenizer)
    assert sorted(trainer.eos_token_ids) == ends([tokenizer.eos_token_id, stop], tokenizer)


def entropy_by_hand(model, tokenizer, prompts, completions):
    """Mean over the tokens of completions, as many of each prompt, without padding or batch."""
    total, each = 0.0, len(completions) // len(prompts)
    for i, completion in enumerate(completions):
        prompt = tokenizer(prompts[i // each])["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].double()
        p = logits.softmax(-1)
        total += float(-(p * p.log()).sum())
    return total / sum(map(len, completions))


def test_no_more_logits_are_held_than_are_let(base, monkeypatch):
    model, tokenizer = base
    prompts = [p.prompt for p in held_out(TASK, 3)]
    whole = sample(model, tokenizer, prompts, samples=8, max_completion=TASK.max_completion)
    most = 4 * (TASK.max_completion + 1) * model.config.vocab_size
    monkeypatch.setattr("entrostat.engines.lm_head.LOGITS", most)
    held = []
    handle = model.register_forward_hook(lambda module, args, out: held.append(out.logits.numel()))
    parts = sample(model, tokenizer, prompts, samples=8, max_completion=TASK.max_completion)
    handle.remove()
    assert max(held) <= most
    assert parts.texts == whole.texts and parts.entropy == pytest.approx(whole.entropy, rel=1e-6)


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
    assert drawn.entropy == pytest.approx(entropy_by_hand(model, tokenizer, prompts, ids), rel=1e-4)


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
