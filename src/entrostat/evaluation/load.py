"""The registry of backends, which are imported when they are chosen."""

from entrostat.evaluation.backend import Backend


def load_backend(name: str, model: str, batch: int | None = None) -> Backend:
    """The backend of that name with `model`; `batch` is its own default without one.

    ImportError with its cure where vLLM is missing; ValueError for no model.
    """
    if name == "vllm":
        from entrostat.evaluation.on_vllm import BATCH, VllmBackend

        return VllmBackend(model, batch=batch or BATCH)
    from entrostat.evaluation.on_transformers import BATCH, TransformersBackend

    return TransformersBackend.load(model, batch=batch or BATCH)
