"""Memory and hours on paper, against numbers worked out by hand, real modules and the papers' models."""

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import AutoConfig

from entrostat.lab.budget import SHAPES, Job, Shape, hours, memory, shape_of
from tiny_models import KINDS, tiny_model

# layer 100 (2 100 + 2 20 + 3 400) = 144,000; embedding 100,000; all 10 layers + 2 embeddings = 1,640,000
SHAPE = Shape(hidden=100, layers=10, mlp=400, heads=10, kv_heads=2, head=10, vocab=1000, tied=False)
JOB = Job(devices=4, rollouts=36, completions=64, micro_batch=2, prompt=100, completion=900, vllm=0.25)


def test_parameters_by_hand():
    assert (SHAPE.layer, SHAPE.embedding, SHAPE.parameters) == (144_000, 100_000, 1_640_000)
    assert SHAPE._replace(tied=True).parameters == 1_540_000
    # rank 2: q and o 200 each, k and v 120 each, the MLP's three 500 each: 2140 x 2 x 10
    assert SHAPE.adapters(2) == 42_800


def test_memory_by_hand():
    found = memory(SHAPE, JOB)
    # 2 x 1000 tokens; A = 800 + 40 + 1600 = 2440; (1000 + 4880) x 2 bytes a token
    assert found == {
        "weights": 1_640_000.0,
        "gradients": 1_640_000.0,
        "AdamW": 3_280_000.0,
        "gathered": 576_000.0,
        "activations": 23_520_000.0,
        "LM head": 800_000.0 + 536_870_912 + 800_000,
        "vLLM": 20e9,
        "other": 3e9,
        "total": 1.64e6 + 1.64e6 + 3.28e6 + 576e3 + 23.52e6 + 538_470_912 + 23e9,
    }


def test_memory_in_other_arrangements():
    whole = memory(SHAPE, JOB._replace(sharded=False, vllm=0.0))
    assert [whole[name] for name in ("weights", "gradients", "AdamW", "gathered")] == [6.56e6, 6.56e6, 13.12e6, 0.0]
    plain = memory(SHAPE, JOB._replace(checkpointing=False, bf16=False))
    assert plain["activations"] == 4 * 2000 * 2440 * 10
    assert plain["LM head"] == 800_000 + 1_073_741_824 + 800_000
    lora = memory(SHAPE, JOB._replace(lora=2))
    assert [lora[name] for name in ("weights", "gradients", "AdamW")] == [1_682_800.0, 42_800.0, 85_600.0]
    # asleep: vLLM and the activations never stand beside each other
    asleep = memory(SHAPE, JOB._replace(sleeps=True))
    assert asleep["total"] == 1.64e6 + 3.28e6 + 23e9
    small = memory(SHAPE, JOB._replace(sleeps=True, vllm=1e-4))
    assert small["total"] == pytest.approx(memory(SHAPE, JOB._replace(vllm=0.0))["total"])


def test_hours_by_hand():
    # 64 x 600 tokens; 10 x 1.64e6 x 38,400 operations at 4 x 312e12 x .35
    found = hours(SHAPE, JOB, 500.0)
    assert found is not None
    training = 10 * 1.64e6 * 38_400 / 436.8e12
    # 16 completions a device, all at once; a step reads 3.28e6 + 16 x 800 x 350 bytes at 1e12 a second
    generation = 500 * (3.28e6 + 16 * 800 * 350) / 1e12
    assert found["training"] == pytest.approx(training / 100, rel=1e-12)
    assert found["generation"] == pytest.approx(generation / 100, rel=1e-12)
    assert found["total"] == found["training"] + found["generation"]
    # checkpointing costs a forward pass, adapters spare the weights' gradients
    for change, operations in (({"checkpointing": False}, 8), ({"lora": 2}, 8)):
        other = hours(SHAPE, JOB._replace(**change), 500.0)
        assert other is not None
        assert other["training"] == pytest.approx(found["training"] * operations / 10, rel=1e-12)
    # a cache with room for 4 of the 16 takes four times the steps
    tight = hours(SHAPE, JOB._replace(vllm=(3.28e6 + 4.5 * 800 * 600) / 80e9), 500.0)
    assert tight is not None
    assert tight["generation"] == pytest.approx(36 * 4 * 500 * (3.28e6 + 4 * 800 * 350) / 1e12 / 3600, rel=1e-12)
    assert hours(SHAPE, JOB._replace(vllm=0.0), 500.0) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_counts_the_parameters_of_the_real_model(kind, tmp_path):
    folder = tiny_model(tmp_path / kind, kind)
    model = AutoModelForCausalLM.from_pretrained(folder)
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert shape_of(AutoConfig.from_pretrained(folder)).parameters == matrices
    linear = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"]
    adapters = sum(3 * (m.in_features + m.out_features) for m in linear)
    assert shape_of(model.config).adapters(3) == adapters


@pytest.mark.parametrize(
    ("name", "billions"),
    # model cards: parameters, in billions
    [("Qwen/Qwen2.5-1.5B-Instruct", 1.54), ("Qwen/Qwen2.5-3B-Instruct", 3.09), ("Qwen/Qwen2.5-Math-7B", 7.61)],
)
def test_the_models_of_the_papers_have_the_parameters_that_their_cards_say(name, billions):
    assert SHAPES[name].parameters / 1e9 == pytest.approx(billions, abs=0.01)
