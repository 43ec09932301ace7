"""TRL's AsyncGRPOTrainer on a CPU, for the tests here and for the ranks that they start: attention without a GPU
kernel, a worker with samples made beforehand, and nobody to send weights to."""

import copy
import functools
import queue
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from tiny_trl import TASK, base_model
from transformers import AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl.experimental.async_grpo import AsyncGRPOConfig, async_grpo_trainer, packing
from trl.experimental.async_grpo.async_rollout_worker import RolloutSample

AsyncGRPOTrainer = async_grpo_trainer.AsyncGRPOTrainer
PROMPTS, SAMPLES = 8, 4


def varlen_attention(q, k, v, cu_q, cu_k, most_q, most_k, *, softmax_scale, causal, window_size):
    """What FlashAttention's function of this name gives, (tokens heads dim): all segments at once, padded."""
    assert causal and window_size == (-1, -1)
    repeat = q.shape[1] // k.shape[1]
    lengths_q, lengths_k = cu_q.diff()[:, None], cu_k.diff()[:, None]
    step_q, step_k = torch.arange(most_q), torch.arange(most_k)
    at_q, at_k = (cu_q[:-1, None] + step_q).clamp(max=len(q) - 1), (cu_k[:-1, None] + step_k).clamp(max=len(k) - 1)
    query, key, value = q[at_q], k[at_k].repeat_interleave(repeat, 2), v[at_k].repeat_interleave(repeat, 2)
    # a segment is the end of its path
    last_seen = (lengths_k - lengths_q + step_q).clamp(max=lengths_k - 1)
    seen = step_k <= last_seen[..., None]
    parts = (x.transpose(1, 2) for x in (query, key, value))
    mixed = F.scaled_dot_product_attention(*parts, attn_mask=seen[:, None], scale=softmax_scale)
    return mixed.transpose(1, 2)[step_q < lengths_q]


# what TRL loads, and asks the device for, needs a GPU; nothing else of the trainer does
packing._flash_attn = lambda: SimpleNamespace(flash_attn_varlen_func=varlen_attention)
async_grpo_trainer.get_peak_flops_per_device = lambda accelerator, dtype: None


@functools.cache
def drawn():
    """Completions of the lab's base model with its own log-probabilities, four to a problem: (prompt ids, completion
    ids, log-probabilities, group)."""
    torch.manual_seed(0)
    model, tokenizer = base_model().eval(), AutoTokenizer.from_pretrained(TASK.base_model, padding_side="left")
    found = []
    for group, problem in enumerate(TASK.problems(PROMPTS, split="train", seed=0)):
        prompt = tokenizer(problem.prompt, return_tensors="pt").input_ids
        rows = prompt.repeat(SAMPLES, 1)
        given = model.generate(
            rows, do_sample=True, top_k=0, max_new_tokens=TASK.max_completion, pad_token_id=tokenizer.pad_token_id
        )
        logprobs = model(given).logits.log_softmax(-1)[:, :-1].gather(2, given[:, 1:, None])[..., 0].detach()
        width = prompt.shape[1]
        for ids, logps in zip(given[:, width:].tolist(), logprobs[:, width - 1 :].tolist(), strict=True):
            end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
            found.append((prompt[0].tolist(), ids[:end], logps[:end], group))
    return found


def sample(prompt, completion, logprobs, group, *, noise, rng, advantage):
    """As TRL's worker makes it; `noise`: how far the sampler's log-probabilities lie from the trainer's."""
    spread = rng.normal(0.0, noise, len(completion)) if noise else np.zeros(len(completion))
    return RolloutSample(
        prompt=[],
        completion=[],
        input_ids=np.array(prompt + completion),
        completion_mask=np.array([0] * len(prompt) + [1] * len(completion)),
        old_log_probs=np.array([0.0] * len(prompt) + list(np.array(logprobs) + spread), dtype=np.float32),
        advantage=advantage,
        model_version=0,
        group_id=group,
        metrics={"reward": advantage},
    )


class Worker:
    """A rollout worker by TRL's RolloutWorkerProtocol. Its queue never ends, and the n-th sample that a run takes is
    the same in every run: the drawn ones over and over, each epoch with other advantages.

    `lags`: how many versions each sample is behind the one that is live when it is taken, in turn.
    """

    def __init__(self, *, noise=0.0, lags=(0,), start=0):
        self.rollout_buffer = self
        self.metrics_queue = queue.Queue()
        self.version, self.taken, self.noise, self.lags = 0, start, noise, lags
        self.given = []

    def get(self, timeout=None):
        epoch, i = divmod(self.taken, PROMPTS * SAMPLES)
        rng = np.random.default_rng(self.taken)
        prompt, completion, logprobs, group = drawn()[i]
        made = sample(
            prompt, completion, logprobs, epoch * PROMPTS + group, noise=self.noise, rng=rng, advantage=rng.normal()
        )
        made.model_version = max(1, self.version - self.lags[self.taken % len(self.lags)])
        self.taken += 1
        self.given.append(made)
        return copy.copy(made)

    def qsize(self):
        return 1

    def start(self): ...

    def stop(self): ...

    def update_model_version(self, model_version):
        self.version = model_version

    def check_health(self, stale_after_s): ...


class NoTransfer:
    """Weights go nowhere."""

    def init_weight_transfer(self): ...

    def pause(self): ...

    def send_weights(self, iterator):
        for _ in iterator:
            pass

    def resume(self): ...

    def destroy(self): ...


def config(folder, **changes):
    fields = {
        "output_dir": str(folder),
        "max_steps": 6,
        "per_device_train_batch_size": PROMPTS * SAMPLES,
        "gradient_accumulation_steps": 1,
        "num_generations": SAMPLES,
        "max_completion_length": TASK.max_completion,
        "token_budget": -1,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
    return AsyncGRPOConfig(**(fields | changes))


def no_reward(completions, **_):
    return [0.0] * len(completions)


def make(kind, args, *, worker=None, transfer=None, **extra):
    """A trainer of this class on one thread, which prints nothing."""
    torch.set_num_threads(1)
    made = kind(
        model=TASK.base_model,
        reward_funcs=no_reward,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": p.prompt} for p in TASK.problems(PROMPTS, split="train", seed=0)]),
        rollout_worker=worker or Worker(),
        weight_transfer=transfer or NoTransfer(),
        **extra,
    )
    made.remove_callback(PrinterCallback)
    return made


def digits(completions, **_):
    """A reward that TRL's worker can send to its child process: how many digits a message has."""
    return [float(sum(letter.isdigit() for letter in message[0]["content"])) for message in completions]
