"""The backends by name. Each is imported when it is chosen."""

from entrostat.evaluation.backend import Backend


def load_backend(name: str, model: str, batch: int | None = None) -> Backend:
    """The backend of that name with `model`; without `batch`, its own default.

    ImportError with its cure where vLLM is missing; ValueError for no model.
    """
    if name == "vllm":
        from entrostat.evaluation import on_vllm

        return on_vllm.VllmBackend(model, batch=batch or on_vllm.BATCH)
    from entrostat.evaluation import on_transformers

    load = on_transformers.TransformersBackend.load
    return load(model, batch=batch or on_transformers.BATCH)
