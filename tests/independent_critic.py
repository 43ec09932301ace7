"""PPO's critic in a plain torch loop, from the base model's own causal language model class: nothing of ours in it."""

import torch
from transformers import AutoModelForCausalLM


class IndependentCritic:
    """The hidden states of a whole causal language model, a weight and a bias: one completion at a time."""

    def __init__(self, folder, *, learning_rate, clip, max_grad_norm):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        size = self.model.config.hidden_size
        self.weight, self.bias = torch.zeros(size, requires_grad=True), torch.zeros(1, requires_grad=True)
        # its last output layer is no part of a critic, unless it is the embedding too
        kept = [p for name, p in self.model.named_parameters() if not name.startswith("lm_head")]
        self.parameters = [*kept, self.weight, self.bias]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=0.0)
        self.clip, self.max_grad_norm = clip, max_grad_norm

    def values(self, batch, i):
        """Of the states before each token of completion i."""
        ids = torch.cat([batch["prompt_ids"][i], batch["completion_ids"][i]])
        seen = torch.cat([batch["prompt_mask"][i], batch["completion_mask"][i]])
        states = self.model(input_ids=ids[None], attention_mask=seen[None], output_hidden_states=True).hidden_states[-1]
        n = len(batch["prompt_ids"][i])
        return torch.stack([states[0, n + t - 1] @ self.weight + self.bias[0] for t in range(len(ids) - n)])

    def update(self, window):
        """One step on the micro-batches of a window, of all ranks: (batch, old values, returns, mask) each.

        Divided by the tokens that one update sees on average over the rollout, as TRL's loss type dapo is.
        """
        self.optimizer.zero_grad()
        loss = 0.0
        for batch, old, returns, mask, tokens in window:
            for i in range(len(old)):
                for t, value in enumerate(self.values(batch, i)):
                    if mask[i, t]:
                        low, high = float(old[i, t]) - self.clip, float(old[i, t]) + self.clip
                        first, second = value - returns[i, t], value.clamp(low, high) - returns[i, t]
                        loss = loss + max(first**2, second**2) / 2 / tokens
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in self.parameters]).norm()
        for p in self.parameters:
            p.grad *= min(1.0, self.max_grad_norm / float(norm + 1e-6))
        self.optimizer.step()
        return float(norm)

    def named(self):
        """Parameters by the names of a backbone and a head."""
        found = {"head.weight": self.weight[None], "head.bias": self.bias}
        for name, p in self.model.named_parameters():
            if not name.startswith("lm_head"):
                found["backbone." + name.removeprefix("model.")] = p
        return {name: p.detach() for name, p in found.items()}
