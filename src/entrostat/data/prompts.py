"""What a model reads of a problem: the papers' wordings, and the model's own chat
template around them."""

import unicodedata
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

_DAPO_HEAD = (
    "Solve the following math problem step by step. The last line of your response "
    "should be of the form Answer: $Answer (without quotes) where $Answer is the "
    "answer to the problem.\n\n"
)
_DAPO_TAIL = '\n\nRemember to put your answer on its own line after "Answer:".'

NO_WORDING = "none"

WORDINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # arXiv 2509.26114, as verl's preprocessing of GSM8K has it
        "gsm8k": (
            "",
            ' Let\'s think step by step and output the final answer after "####".',
        ),
        # as the rows of DAPO-Math-17k have it (arXiv 2503.14476)
        "dapo": (_DAPO_HEAD, _DAPO_TAIL),
        # Qwen2.5-Math's, which most papers took over (arXiv 2409.12122)
        "boxed": (
            "",
            "\nPlease reason step by step, and put your final answer within \\boxed{}.",
        ),
        # ours
        "gym": (
            "",
            "\nThink step by step, then give the final answer alone between <answer> "
            "and </answer>.",
        ),
        # verl's preprocessing of MATH
        "verl-math": (
            "",
            " Let's think step by step and output the final answer within \\boxed{}.",
        ),
        # the problem as it is; the last, since every text has it around it
        NO_WORDING: ("", ""),
    }
)
"""What stands before and behind a problem."""

WORDING_OF: Mapping[str, str] = MappingProxyType(
    {
        "gsm8k": "gsm8k",
        "last-number": "gsm8k",
        "dapo": "dapo",
        "math": "boxed",
        "gym": "gym",
        "exact": NO_WORDING,
    }
)
"""The wording that asks for what a verifier reads."""


def worded(wording: str, problem: str) -> str:
    """The problem with what is asked for.

    >>> worded("gsm8k", "What is 1 + 1?")
    'What is 1 + 1? Let\\'s think step by step and output the final answer after "####".'
    """
    before, after = WORDINGS[wording]
    return f"{before}{problem}{after}"


def bare(text: str) -> str:
    """The problem of a text that may have one of the wordings around it already, as
    DAPO-Math-17k's rows have."""
    for before, after in WORDINGS.values():
        longer = len(text) > len(before) + len(after)
        if longer and text.startswith(before) and text.endswith(after):
            return text[len(before) : len(text) - len(after)].strip()
    return text.strip()


def rendered(tokenizer: Any, text: str) -> str:
    """The prompt of `text` as the user's turn: by the chat template, or plain, with a
    line end, where there is none.

    `tokenizer(prompt)`, special tokens and all, gives what the template gives: the
    token that begins a sequence is left out where the tokenizer puts one there itself
    (Llama's would be there twice).
    """
    if not tokenizer.chat_template:
        return f"{text}\n"
    turns = [{"role": "user", "content": text}]
    prompt = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    begin = tokenizer.bos_token
    if not begin or not prompt.startswith(begin):
        return prompt
    puts_it_itself = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return prompt[len(begin) :] if puts_it_itself else prompt


def ends(declared: int | list[int] | None, tokenizer: Any) -> list[int]:
    """Ids that end a text: all that a model's generation settings declare, and its
    tokenizer's. TRL ends at the same.

    >>> from types import SimpleNamespace
    >>> tokenizer = SimpleNamespace(eos_token_id=3)
    >>> ends([5, 3], tokenizer), ends(None, tokenizer)
    ([3, 5], [3])
    """
    ids = declared if isinstance(declared, list) else [declared]
    known = {*ids, tokenizer.eos_token_id} - {None}
    return sorted(known)


def plain_notes(tokenizer: Any) -> list[str]:
    """What is to be said of a tokenizer that lacks a pad token of its own or a chat
    template, one line each.

    A pad token that is the end of text stands in for a missing one.
    """
    notes = []
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        notes.append(
            "the tokenizer has no pad token of its own: its end of text, "
            f"{tokenizer.eos_token!r}, stands in"
        )
    if not tokenizer.chat_template:
        notes.append("the tokenizer has no chat template: prompts are plain text")
    return notes


def unspelt(tokenizer: Any, prompts: Iterable[str]) -> tuple[str, str] | None:
    """A character that the tokenizer loses and a prompt that has it; None where it
    spells them all.

    Case, spaces and how a character is composed don't count. Each character is tried in
    one prompt.
    """
    tried: set[str] = set()
    for prompt in prompts:
        letters = _letters(prompt)
        if letters <= tried:
            continue
        ids = tokenizer(prompt)["input_ids"]
        known = [i for i in ids if i != tokenizer.unk_token_id]
        lost = letters - _letters(tokenizer.decode(known))
        if lost:
            return min(lost), prompt
        tried |= letters
    return None


def _letters(text: str) -> set[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return {character for character in folded if not character.isspace()}
