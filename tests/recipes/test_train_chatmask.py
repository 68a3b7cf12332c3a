"""Which tokens of a conversation are trained."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from stoker.errors import BadInput
from stoker.recipes import chatmask
from tests.recipes.tiny_models import make_tokenizer

# A template that leaves the reasoning of earlier turns away, as Qwen3's does, and prints no line break.
FORGETFUL = (
    "{% for message in messages %}[{{ message['role'] }}]"
    "{% if message['role'] == 'assistant' and not loop.last and '</think>' in message['content'] %}"
    "{{ message['content'].split('</think>')[-1] }}{% else %}{{ message['content'] }}{% endif %}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
# Adds its own system text, as SmolLM2's does.
WITH_SYSTEM = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nBe brief<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def said(question: str, *turns: str) -> list[dict[str, str]]:
    roles = ("assistant", "user")
    return [
        {"role": "user", "content": question},
        *({"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)),
    ]


def trained_text(tokenizer: Any, tokens: chatmask.Tokens) -> str:
    return str(
        tokenizer.decode([token for token, counts in zip(tokens.ids, tokens.trained, strict=True) if counts])
    )


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.mark.parametrize("template", [None, WITH_SYSTEM])
def test_what_the_assistant_says_is_trained_with_its_end_mark(tokenizer: Any, template: str | None) -> None:
    tokenizer.chat_template = template or tokenizer.chat_template
    tokens = chatmask.chat(tokenizer, said("hot?", "the fan is off", "and now?", "restart the node"))
    assert trained_text(tokenizer, tokens) == "the fan is off<|im_end|>restart the node<|im_end|>"


def test_nothing_follows_the_last_trained_token(tokenizer: Any) -> None:
    tokens = chatmask.chat(tokenizer, said("hot?", "yes"))
    assert tokens.trained[-1]
    assert tokenizer.decode([tokens.ids[-1]]) == "<|im_end|>"


def test_the_prompt_is_what_comes_before_the_answer(tokenizer: Any) -> None:
    messages = said("hot?", "the fan is off")
    tokens = chatmask.chat(tokenizer, messages)
    before = tokens.trained.index(True)
    assert chatmask.prompt(tokenizer, messages[:1]) == tokens.ids[:before]


def test_a_template_that_rewrites_earlier_turns_still_finds_the_last() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = FORGETFUL
    tokens = chatmask.chat(tokenizer, said("hot?", "the fan is off", "and now?", "<think>so</think>restart"))
    assert trained_text(tokenizer, tokens) == "the fan is off<|im_end|><think>so</think>restart<|im_end|>"


def test_a_turn_the_template_cut_cannot_be_trained_and_is_named() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = FORGETFUL
    with pytest.raises(BadInput, match="chat template changes the assistant message"):
        chatmask.chat(tokenizer, said("hot?", "<think>hm</think>the fan", "and now?", "restart"))


def test_words_of_the_user_that_equal_the_answer_are_not_trained(tokenizer: Any) -> None:
    tokens = chatmask.chat(tokenizer, said("the fan is off", "the fan is off"))
    assert trained_text(tokenizer, tokens) == "the fan is off<|im_end|>"
    assert not any(tokens.trained[: len(tokens) // 2])


def test_a_conversation_without_an_answer_is_refused(tokenizer: Any) -> None:
    with pytest.raises(BadInput, match="no assistant message"):
        chatmask.chat(tokenizer, said("hot?", "  "))


def test_a_template_that_refuses_is_told_in_one_line() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BadInput, match="refuses the messages: roles must alternate"):
        chatmask.chat(tokenizer, said("hot?", "yes"))
