"""The backend against one forward pass a token, without cache, padding or batch."""

import itertools
import math

import pytest
import torch

from entrostat.evaluation.backend import Prompt
from entrostat.evaluation.on_transformers import TransformersBackend
from entrostat.evaluation.presets import Sampling
from tiny_benchmark import CONTEXT

SAMPLING = Sampling(temperature=0.8, top_p=0.95, top_k=40)


def prompts(backend, *texts):
    return [Prompt(backend.tokenizer(text)["input_ids"], 1000 + i) for i, text in enumerate(texts)]


def by_hand(backend, prompt, n, sampling, limit):
    """n completions, token by token in plain Python, each as long as the context lets it be."""
    generator = torch.Generator().manual_seed(prompt.seed)
    for _ in range(n):
        ids, entropy, uniform = list(prompt.ids), [], torch.rand(limit, generator=generator, dtype=torch.float64)
        for u in uniform.tolist()[: CONTEXT - len(prompt.ids)]:
            with torch.no_grad():
                logits = backend.model(input_ids=torch.tensor([ids])).logits[0, -1].double() / sampling.temperature
            p = logits.softmax(0).tolist()
            entropy.append(-sum(x * math.log(x) for x in p))
            likeliest = sorted(range(len(p)), key=lambda i: -p[i])[: sampling.top_k or len(p)]
            total = sum(p[i] for i in likeliest)
            before = itertools.accumulate((p[i] / total for i in likeliest), initial=0.0)
            kept = [i for i, mass in zip(likeliest, before, strict=False) if mass < sampling.top_p]
            mass = sum(p[i] for i in kept)
            ends = list(itertools.accumulate(p[i] / mass for i in kept))
            ids.append(next(i for i, end in zip(kept, ends, strict=True) if u < end))
            if ids[-1] == 1:
                break
        yield ids[len(prompt.ids) :], sum(entropy) / len(entropy)


def test_samples_and_entropy_are_those_of_one_pass_a_token(backend):
    asked = prompts(backend, "Count to three", "a", "What is 3 + 4, please?")
    found = backend.generate(asked, 4, SAMPLING, 12)
    ended = set()
    for prompt, drawn in zip(asked, found, strict=True):
        for one, (ids, entropy) in zip(drawn, by_hand(backend, prompt, 4, SAMPLING, 12), strict=True):
            assert one.tokens == len(ids)
            assert one.ended == (ids[-1] == 1)
            assert one.text == backend.tokenizer.decode(ids, skip_special_tokens=True)
            assert one.entropy == pytest.approx(entropy, rel=1e-5)
            ended.add(one.ended)
    assert ended == {True, False}


def test_a_prompt_has_its_own_random_numbers(backend):
    asked = prompts(backend, "Count to three", "a", "What is 3 + 4, please?")
    together = backend.generate(asked, 4, SAMPLING, 8)
    other = TransformersBackend(backend.model, backend.tokenizer, batch=5)
    alone = [other.generate([prompt], 4, SAMPLING, 8)[0] for prompt in asked[::-1]][::-1]
    assert [[one.text for one in drawn] for drawn in together] == [[one.text for one in drawn] for drawn in alone]
    assert len({one.text for one in together[0]}) > 1


def test_a_prompt_has_its_own_room_in_the_context(backend):
    """The longest of its batch takes none of it: completions and random numbers are those that it has alone."""
    asked = prompts(backend, "x" * (CONTEXT - 3), "y" * (CONTEXT - 6), "z" * (CONTEXT - 6), "a")
    found = backend.generate(asked, 4, SAMPLING, 12)
    for prompt, drawn in zip(asked, found, strict=True):
        for one, (ids, entropy) in zip(drawn, by_hand(backend, prompt, 4, SAMPLING, 12), strict=True):
            assert one.text == backend.tokenizer.decode(ids, skip_special_tokens=True)
            assert (one.tokens, one.ended) == (len(ids), ids[-1] == 1)
            assert one.entropy == pytest.approx(entropy, rel=1e-5)
    longest = [max(one.tokens for one in drawn) for drawn in found]
    assert longest[:3] == [3, 6, 6] and longest[3] > 6


def test_the_likeliest_token_is_that_of_transformers_greedy_search(backend):
    asked = prompts(backend, "Count to three", "What is 3 + 4, please?")
    for prompt, drawn in zip(asked, backend.generate(asked, 2, Sampling(top_k=1), 10), strict=True):
        ids = torch.tensor([prompt.ids])
        whole = backend.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10)
        text = backend.tokenizer.decode(whole[0, ids.size(1) :], skip_special_tokens=True)
        assert {one.text for one in drawn} == {text}


def test_torchs_own_generator_stays_where_it_is(backend):
    state = torch.get_rng_state()
    backend.generate(prompts(backend, "a"), 2, SAMPLING, 4)
    assert torch.equal(state, torch.get_rng_state())


def test_the_models_own_settings_do_not_enter(backend, model_folder, tmp_path):
    own = TransformersBackend.load(str(model_folder)).model
    own.generation_config.update(repetition_penalty=5.0, top_p=0.1, temperature=0.1, do_sample=True)
    other = TransformersBackend(own, backend.tokenizer)
    asked = prompts(backend, "Count to three")
    assert other.generate(asked, 3, SAMPLING, 8) == backend.generate(asked, 3, SAMPLING, 8)


@pytest.mark.parametrize("source", ["/no/such/folder", "./none"])
def test_no_model(source):
    with pytest.raises(ValueError, match="no causal language model with a tokenizer in"):
        TransformersBackend.load(source)
