"""The thermostat in TRL's AsyncGRPOTrainer with TRL's own rollout worker in its child process, which samples from a
server over HTTP while the trainer trains."""

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tiny_async import config, digits
from tiny_trl import logged
from transformers import AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl.chat_template_utils import qwen2_5_chat_template
from trl.experimental.async_grpo import async_rollout_worker
from vllm_server import FileTransfer, Server

from entrostat import make_strategy
from entrostat.engines.trl_async import EntropyControlAsyncGRPOTrainer
from tiny_models import tiny_model


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("policy"), "qwen2")
    # one that TRL's worker can parse
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = qwen2_5_chat_template
    tokenizer.save_pretrained(folder)
    return folder


def test_the_thermostat_moves_entropy_over_a_server(policy, tmp_path, monkeypatch):
    # the child needs aiohttp alone; vLLM is the server's
    monkeypatch.setattr(async_rollout_worker, "is_vllm_available", lambda: True)
    torch.set_num_threads(1)
    args = {"max_steps": 6, "per_device_train_batch_size": 8, "max_completion_length": 6, "learning_rate": 1e-2}
    args |= {"token_budget": None, "gradient_accumulation_steps": 2, "max_staleness": 2, "num_generations": 4}
    # what is left fits into a pipe: TRL waits 15 s for a child that cannot write it
    args |= {"queue_maxsize": 16}
    with Server(policy) as server:
        trainer = EntropyControlAsyncGRPOTrainer(
            strategy=make_strategy("thermostat", target="0.5x", hold="both"),
            model=str(policy),
            reward_funcs=digits,
            args=config(tmp_path, vllm_server_base_url=server.url, **args),
            train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": f"{i}+{i}="}]} for i in range(8)]),
            weight_transfer=FileTransfer(server.url, tmp_path / "weights"),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    lines = logged(trainer, "entrostat/")
    assert len(lines) == 6
    # a rollout without an advantage has a pressure of 0, and the last one may be without
    pressures = [line["entrostat/pressure"] for line in lines]
    assert [one for one in pressures if one][-1] < 0, "the target is under the entropy: it presses down"
    assert max(line["entrostat/dropped"] for line in lines) > 0
    # tokens of the first update are the first version's: what differs is the server's precision
    assert lines[0]["entrostat/staleness"] == 0
    assert 1e-5 < lines[0]["entrostat/mismatch"] < 0.1
    assert abs(lines[0]["entrostat/mismatch_bias"]) < 5 * lines[0]["entrostat/mismatch_bias_error"]
    assert 0 < lines[-1]["entrostat/staleness"] <= 3
    # the server has the trainer's weights, a version for each update and one before the first
    assert server.requests.count("/update_weights") == 7 == trainer.model_version
    assert server.requests.count("/v1/completions") >= 6 * 16
    sent = load_file(tmp_path / "weights")
    for name, weight in trainer.model.named_parameters():
        assert torch.equal(sent[name], weight)
