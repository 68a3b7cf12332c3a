"""Vocabulary: the tokens of a model, with everything a GGUF file says about turning text into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from stoker.errors import Unfit
from stoker.recipes.gguf_fields import Field, field

_PREFIX = "tokenizer."
TEMPLATE = "tokenizer.chat_template"
_TOKENS, _TYPES, _SCORES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"
_SUPPRESS = "tokenizer.ggml.suppress_tokens"


class TokenType(IntEnum):
    """llama.cpp's ``llama_token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Vocabulary:
    tokens: list[str]
    types: list[int]
    scores: list[float]  # empty where the tokenizer has none (byte-level BPE)
    others: Mapping[str, Field]  # merges, special ids, flags, chat template: keys as in the file

    @property
    def template(self) -> str:
        """The chat template; empty when the model has none."""
        found = self.others.get(TEMPLATE)
        return str(found.value) if found else ""

    def fields(self) -> dict[str, Field]:
        """What to write; `of_fields` takes it back."""
        listed = {_TOKENS: field(self.tokens), _TYPES: field(self.types)}
        if self.scores:
            listed[_SCORES] = field(self.scores)
        return {**self.others, **listed}

    def padded(self, rows: int) -> Vocabulary:
        """As many tokens as the embedding has rows: models often round their vocabulary up."""
        missing = rows - len(self.tokens)
        if missing < 0:
            raise Unfit(
                f"the tokenizer has {len(self.tokens):,} tokens but the model only {rows:,} embeddings;"
                " take the tokenizer that belongs to the model"
            )
        return self._extended([f"[PAD{len(self.tokens) + index}]" for index in range(missing)], TokenType.UNUSED)

    def with_prefix(self, names: list[str]) -> Vocabulary:
        """Tokens `names` added at the end, put before every conversation, and never sampled.

        The beginning-of-sequence token is spelled out behind them in the template, where the tokenizer would have
        put it before them. ``suppress_tokens`` makes llama.cpp give them probability zero, whatever is asked.
        """
        first = len(self.tokens)
        template = "{{ '" + "".join(names) + "' }}" + self._bos_in_template() + self.template
        others = {
            **self.others,
            TEMPLATE: field(template),
            "tokenizer.ggml.add_bos_token": field(False),
            _SUPPRESS: field([*self._suppressed(), *range(first, first + len(names))]),
        }
        return replace(self._extended(names, TokenType.CONTROL), others=others)

    def _bos_in_template(self) -> str:
        adds = self.others.get("tokenizer.ggml.add_bos_token")
        spm = self.others["tokenizer.ggml.model"].value == "llama"
        implied = bool(adds.value) if adds else spm  # llama.cpp's default for sentencepiece vocabularies
        return "{{ bos_token }}" if implied and "bos_token" not in self.template else ""

    def _suppressed(self) -> list[int]:
        found = self.others.get(_SUPPRESS)
        return list(found.value) if found else []

    def _extended(self, tokens: list[str], kind: TokenType) -> Vocabulary:
        count = len(tokens)
        return replace(
            self,
            tokens=[*self.tokens, *tokens],
            types=[*self.types, *[int(kind)] * count],
            scores=[*self.scores, *[-1000.0] * count] if self.scores else [],
        )


def of_fields(fields: Mapping[str, Field]) -> Vocabulary:
    """The vocabulary of a GGUF file, from all its fields."""
    if _TOKENS not in fields:
        raise Unfit("the GGUF file has no vocabulary; take one that was exported with its tokenizer")
    tokens = list(fields[_TOKENS].value)
    types = fields[_TYPES].value if _TYPES in fields else [int(TokenType.NORMAL)] * len(tokens)
    scores = fields[_SCORES].value if _SCORES in fields else []
    listed = (_TOKENS, _TYPES, _SCORES)
    others = {key: value for key, value in fields.items() if key.startswith(_PREFIX) and key not in listed}
    return Vocabulary(tokens, list(types), list(scores), others)
