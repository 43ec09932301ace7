"""verl asks for FlashAttention 2 where it loads a critic, whatever is configured: on a CPU it gets sdpa."""

from transformers import AutoModelForTokenClassification

_stock = AutoModelForTokenClassification.from_pretrained.__func__


def _sdpa(cls, *args, **kwargs):
    return _stock(cls, *args, **(kwargs | {"attn_implementation": "sdpa"}))


AutoModelForTokenClassification.from_pretrained = classmethod(_sdpa)
