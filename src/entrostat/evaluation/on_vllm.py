"""Sampling by vLLM's offline engine (the extra `vllm`).

Written from its documented interface, not run by our tests. vLLM gives
log-probabilities of the likeliest tokens only, so there is no entropy here. Its samples
are seeded per prompt, but its batches are its own: equal seeds need not give equal
samples on every version and GPU.
"""

from collections.abc import Sequence
from typing import Any

from entrostat.evaluation.backend import Drawn, Prompt, room
from entrostat.evaluation.presets import Sampling

BATCH = 2048
"""Sequences handed over at a time; the engine schedules them."""


class VllmBackend:
    """An engine with one model. ImportError, with its cure, where there is no vLLM."""

    def __init__(self, source: str, *, batch: int = BATCH):
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ImportError(
                "--backend vllm needs vLLM and a GPU: pip install 'entrostat[vllm]'"
            ) from None
        self._vllm: Any = vllm
        self.batch = batch
        # what a model's own generation settings say must not enter
        self._engine: Any = vllm.LLM(model=source, generation_config="vllm")

    @property
    def tokenizer(self) -> Any:
        """The engine's own."""
        return self._engine.get_tokenizer()

    @property
    def context(self) -> int | None:
        """The engine's max_model_len."""
        return self._engine.llm_engine.model_config.max_model_len

    def generate(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, max_tokens: int
    ) -> list[list[Drawn]]:
        """n completions of each prompt, in one call: the engine makes its batches."""
        inputs = []
        settings = []
        for prompt in prompts:
            params = self._vllm.SamplingParams(
                n=n,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                # vLLM's "off"
                top_k=sampling.top_k or -1,
                max_tokens=room(max_tokens, self.context, prompt.ids),
                seed=prompt.seed,
            )
            inputs.append({"prompt_token_ids": prompt.ids})
            settings.append(params)
        outputs = self._engine.generate(inputs, settings, use_tqdm=False)
        return [list(map(_drawn, output.outputs)) for output in outputs]


def _drawn(output: Any) -> Drawn:
    ended = output.finish_reason == "stop"
    return Drawn(output.text, len(output.token_ids), None, ended)
