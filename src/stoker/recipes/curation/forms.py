"""Forms: the column layouts people keep training data in, and how each becomes a conversation or a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stoker.errors import BadInput, near
from stoker.recipes.curation.record import Content, Kind, Message, Rejected, checked_messages, checked_text

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    name: str
    kind: Kind
    needs: Mapping[str, tuple[str, ...]]  # role of a column -> names it goes by
    takes: Mapping[str, tuple[str, ...]]  # the same for columns that may be missing
    build: Callable[[Fields], Content]  # from values by role


@dataclass(frozen=True)
class Binding:
    """A form together with the columns that play its roles."""

    form: Form
    column_of: Mapping[str, str]

    def content(self, fields: Fields) -> Content:
        """Raises Rejected with the reason why `fields` is no usable record."""
        return self.form.build({role: fields.get(column) for role, column in self.column_of.items()})


def _from_messages(given: Fields) -> Content:
    return checked_messages(_parsed(given["messages"]))


def _from_pair(given: Fields) -> Content:
    prompt, completion = _parsed(given["prompt"]), _parsed(given["completion"])
    if isinstance(prompt, list) and isinstance(completion, list):  # TRL's conversational prompt and completion
        return checked_messages([*prompt, *completion])
    return _one_turn(prompt, completion, given.get("system"))


def _from_instruction(given: Fields) -> Content:
    question, context = given["instruction"], given.get("input")
    if isinstance(question, str) and isinstance(context, str) and context.strip():
        question = f"{question}\n\n{context}"
    return _one_turn(question, given["output"], given.get("system"))


def _from_text(given: Fields) -> Content:
    return checked_text(given["text"])


def _one_turn(question: object, answer: object, system: object) -> Content:
    if answer is None or (isinstance(answer, str) and not answer.strip()):
        raise Rejected("no_answer", str(question)[:80])
    turns: list[Message] = [
        {"role": "user", "content": checked_text(question)},
        {"role": "assistant", "content": checked_text(answer)},
    ]
    if isinstance(system, str) and system.strip():
        turns.insert(0, {"role": "system", "content": checked_text(system)})
    return turns


def _parsed(value: object) -> object:
    """CSV carries lists as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


_SYSTEM = {"system": ("system", "system_prompt")}
FORMS: tuple[Form, ...] = (  # in the order they are tried
    Form("messages", "chat", {"messages": ("messages",)}, {}, _from_messages),
    Form("conversations", "chat", {"messages": ("conversations", "conversation")}, {}, _from_messages),
    Form(
        "instruction",
        "chat",
        {"instruction": ("instruction",), "output": ("output", "response")},
        {"input": ("input", "context"), **_SYSTEM},
        _from_instruction,
    ),
    Form(
        "prompt_completion",
        "chat",
        {
            "prompt": ("prompt", "question", "query", "问题"),
            "completion": ("completion", "response", "answer", "回答", "答案"),
        },
        _SYSTEM,
        _from_pair,
    ),
    Form("text", "text", {"text": ("text", "content")}, {}, _from_text),
)


class Forms:
    """Finds the form of rows by their columns; each set of columns is judged once."""

    def __init__(self, form: str = "auto", columns: Mapping[str, str] | None = None) -> None:
        """`form` and `columns` (role -> column) narrow the choice; raises BadInput when they contradict."""
        self._chosen = dict(columns or {})
        self._forms = [known for known in FORMS if form in ("auto", known.name) and self._fits(known)]
        self._known: dict[frozenset[str], Binding | None] = {}
        if not self._forms:
            raise BadInput(_no_such_form(form, self._chosen), param="columns" if self._chosen else "form")

    def of(self, fields: Fields) -> Binding | None:
        key = frozenset(fields)
        if key not in self._known:
            self._known[key] = next(filter(None, (self._bind(form, key) for form in self._forms)), None)
        return self._known[key]

    def needed(self) -> str:
        """What columns would do, for an error message: ``messages; or prompt and completion; ...``"""
        return "; or ".join(
            " and ".join(self._chosen.get(role, names[0]) for role, names in form.needs.items())
            for form in self._forms
        )

    def _fits(self, form: Form) -> bool:
        return set(self._chosen) <= {*form.needs, *form.takes}

    def _bind(self, form: Form, columns: frozenset[str]) -> Binding | None:
        bound: dict[str, str] = {}
        for role, names in {**form.needs, **form.takes}.items():
            wanted = (self._chosen[role],) if role in self._chosen else names
            column = next((name for name in wanted if name in columns), None)
            if column is not None:
                bound[role] = column
            elif role in form.needs or role in self._chosen:
                return None
        return Binding(form, bound)


def _no_such_form(form: str, columns: Mapping[str, str]) -> str:
    names = [known.name for known in FORMS]
    if form != "auto" and form not in names:
        return f'there is no form "{form}"{near(form, names)}'
    roles = {known.name: ", ".join([*known.needs, *known.takes]) for known in FORMS}
    allowed = "; ".join(f"{name}: {roles[name]}" for name in names if form in ("auto", name))
    return f"columns names {', '.join(columns)}; the parts a form has are {allowed}"
