"""Texts of a trainer's log as token ids, by the tokenizer of the model that is given.

A text may have been sampled as other tokens than those that the tokenizer makes of it,
and its special tokens may be lost. What is lost is said, and where it can be put back,
that is checked.
"""

from typing import Any, NamedTuple

from entrostat.dump.logs import Completion, Tokens
from entrostat.dump.logs.completion import Messages
from entrostat.texts import first_line

_SYSTEM, _USER = "\x00system\x00", "\x00user\x00"
"""Stand for the messages in a chat template; no text has them."""


class Template(NamedTuple):
    """What is left of a chat template without its special tokens.

    A conversation reads `before` + [system + `between`] + user + `after`.
    """

    before: str
    between: str | None
    """None for a conversation of the user alone."""
    after: str


class Retokeniser:
    """Gives the ids of a completion, and counts what is not certain of them."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.texts = 0
        """Completions whose ids are not those that were sampled."""
        self.changed = 0
        """Of these, whose ids do not decode to their text."""
        self.bare = 0
        """Prompts of text that are no conversation of the model's chat template."""
        self._templates = self._known_templates()

    def tokens(self, completion: Completion) -> Tokens:
        """The ids that were sampled, or else those of the texts.

        Raises:
            ValueError: a conversation, and the tokenizer has no chat template.
        """
        if completion.tokens is not None:
            return completion.tokens
        ids = self._ids(completion.response, special=False)
        self.texts += 1
        self.changed += self._bare_text(ids) != completion.response
        prompt = self._prompt(completion.prompt)
        return Tokens(prompt, ids, [True] * len(ids), None)

    def notes(self) -> list[str]:
        """What is not certain of the ids, a line each."""
        if not self.texts:
            return []
        lines = [
            "sampled tokens (retokenised): what the tokenizer makes of a text may be other "
            "tokens, and has no end of sequence"
        ]
        if self.changed:
            lines.append(
                f"{self.changed} of {self.texts} responses as they were: their tokens "
                "read back as another text"
            )
        if self.bare:
            lines.append(
                f"special tokens of {self.bare} of {self.texts} prompts: they are no "
                "conversation of the model's chat template, and are taken as plain text"
            )
        return lines

    def _prompt(self, prompt: str | Messages) -> list[int]:
        if isinstance(prompt, list):
            return self._of_conversation(prompt)
        for template in self._templates:
            messages = _split(prompt, template)
            if messages is None:
                continue
            ids = self._of_conversation(messages)
            # only what reads back as the prompt is taken for it
            if self._bare_text(ids) == prompt:
                return ids
        self.bare += bool(self._templates)
        return self._ids(prompt, special=True)

    def _ids(self, text: str, *, special: bool) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def _bare_text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _of_conversation(self, messages: Messages) -> list[int]:
        try:
            ids = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except Exception as error:
            # a template is a program, and may raise anything
            raise ValueError(
                f"the prompts are conversations, and the model's chat template gives no "
                f"text of them ({first_line(error)})"
            ) from None
        return list(ids)

    def _known_templates(self) -> list[Template]:
        """Of a conversation of the user alone, and of one with a system message."""
        if getattr(self.tokenizer, "chat_template", None) is None:
            return []
        user = {"role": "user", "content": _USER}
        system = {"role": "system", "content": _SYSTEM}
        templates = []
        for messages in ([user], [system, user]):
            try:
                text = self._bare_text(self._of_conversation(messages))
            except ValueError:
                # some templates have no system message
                continue
            before, found_user, after = text.partition(_USER)
            between = None
            if len(messages) > 1:
                before, found_system, between = before.partition(_SYSTEM)
                if not found_system:
                    continue
            if found_user:
                templates.append(Template(before, between, after))
        return templates


def _split(prompt: str, template: Template) -> Messages | None:
    """The messages of a prompt that reads as the template; None where it does not.

    >>> _split("user\\nHi\\nassistant\\n", Template("user\\n", None, "\\nassistant\\n"))
    [{'role': 'user', 'content': 'Hi'}]
    """
    ends = prompt.startswith(template.before) and prompt.endswith(template.after)
    outer = len(template.before) + len(template.after)
    if not ends or len(prompt) < outer:
        return None
    content = prompt[len(template.before) : len(prompt) - len(template.after)]
    if template.between is None:
        return [{"role": "user", "content": content}]
    system, found, user = content.partition(template.between)
    if not found:
        return None
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": user},
    ]
