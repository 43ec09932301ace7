"""The wordings, and prompts whose ids are those that the chat template gives."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from entrostat.data.prompts import WORDING_OF, WORDINGS, bare, plain_notes, rendered, unspelt, worded
from entrostat.verify import VERIFIERS
from tiny_models import tiny_tokenizer

TEXT = "What is {1} + 1? $x_{problem}$"


def test_the_papers_wordings():
    end = ' Let\'s think step by step and output the final answer after "####".'
    assert worded("gsm8k", TEXT) == TEXT + end
    dapo = worded("dapo", TEXT)
    assert dapo.startswith("Solve the following math problem step by step. The last line of your response should be ")
    assert dapo.endswith(f'\n\n{TEXT}\n\nRemember to put your answer on its own line after "Answer:".')
    assert WORDING_OF.keys() == VERIFIERS.keys()


@pytest.mark.parametrize("wording", WORDINGS)
def test_a_wording_comes_off_as_it_went_on(wording):
    assert bare(worded(wording, TEXT)) == TEXT
    assert bare(TEXT) == TEXT


@pytest.mark.parametrize("begins", [False, True])
def test_a_prompt_has_the_ids_of_the_template(begins):
    tokenizer = tiny_tokenizer()
    if begins:  # as Llama 3's: the template writes the token that begins a text, and so does the tokenizer
        tokenizer.bos_token = "<|im_start|>"
        begin = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer._tokenizer.post_processor = TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
        assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    turns = [{"role": "user", "content": TEXT}]
    whole = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert tokenizer(rendered(tokenizer, TEXT))["input_ids"] == whole


def test_a_model_without_template_gets_the_plain_text():
    tokenizer = tiny_tokenizer(chat=False)
    assert rendered(tokenizer, TEXT) == TEXT + "\n"
    tokenizer.pad_token = None
    assert [note.split(":")[0] for note in plain_notes(tokenizer)] == [
        "the tokenizer has no pad token of its own",
        "the tokenizer has no chat template",
    ]
    assert plain_notes(tiny_tokenizer()) == []


def test_what_a_tokenizer_cannot_spell_is_found():
    assert unspelt(tiny_tokenizer(), [TEXT, "é ٣ 🙂"]) is None
    letters = Tokenizer(models.WordLevel({"1": 0, "?": 1, "[UNK]": 2}, unk_token="[UNK]"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="[UNK]")
    assert unspelt(tokenizer, ["1?", "1 2?"]) == ("2", "1 2?")
    assert unspelt(tokenizer, ["1 ? 1"]) is None
