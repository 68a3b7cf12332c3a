"""Errors in Chinese: every sentence that the code raises where people look has one, and none is left over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stoker
from stoker.error_texts import MESSAGES
from stoker.error_texts_plan import PLANNING
from stoker.error_words import error_in
from stoker.errors import MissingExtra, NotFound, StokerError, code_of, kind_of

ROOT = Path(stoker.__file__).parent
TEXTS = {**MESSAGES, **PLANNING}
PLACE = re.compile(r"\{\w+\}")

# Where the errors arise that a form of the console can raise, and those of submitting, queues, policy and nodes.
ROOMS = (
    "console", "control", "endpoint.py", "endpointfile.py", "errors.py", "hostlist.py", "job.py", "jobfile.py",
    "node_move.py", "perf", "plan", "queue.py", "queue_window.py", "schedule", "shipment.py", "store", "units.py",
    "yamltext.py",
)  # fmt: skip
# Readers of files that come with the product, and what keeps `stoker up` from starting.
BESIDE = (
    "perf/accelerator.py", "perf/calibrate_fabric.py", "perf/datasheet.py", "perf/network.py", "perf/site.py",
    "perf/stack.py", "perf/storage.py", "store/database.py", "store/home.py", "yamltext.py",
)  # fmt: skip


def _files(rooms: tuple[str, ...]) -> Iterator[Path]:
    for room in rooms:
        yield from (ROOT / room).rglob("*.py") if (ROOT / room).is_dir() else [ROOT / room]


def _told(node: ast.expr) -> str | None:
    """A literal sentence, each value in it as ``{}``."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def _is_error(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and kind_of(code_of(type(call.func.id, (), {}))) is not None


def raised(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args and _is_error(node):
            sentence = _told(node.args[0])
            if sentence and " " in sentence.replace("{}", ""):
                yield sentence


@pytest.mark.parametrize("path", [path for path in _files(ROOMS) if not str(path).endswith(BESIDE)])
def test_every_sentence_that_is_raised_is_translated(path: Path) -> None:
    known = {PLACE.sub("{}", english) for english in TEXTS}
    assert not [sentence for sentence in raised(path) if sentence not in known]


def test_no_translation_is_left_over() -> None:
    """Each is what somebody raises, or a whole sentence or word that is told somewhere."""
    told = {
        _told(node) for path in ROOT.rglob("*.py") if "error_texts" not in path.name for node in _literals(path)
    }
    words = {english for english in TEXTS if "{" not in english}
    left = {english for english in TEXTS if PLACE.sub("{}", english) not in told}
    assert not {
        english
        for english in left - words
        if not english.startswith(("must ", "; ", "there is no", "no such option", "missing ", "invalid "))
    }


def _literals(path: Path) -> Iterator[ast.expr]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            yield node


@pytest.mark.parametrize("english", TEXTS)
def test_both_languages_name_the_same_values(english: str) -> None:
    assert sorted(PLACE.findall(english)) == sorted(PLACE.findall(TEXTS[english]))


@given(english=st.sampled_from(sorted(TEXTS)), value=st.integers(100, 999))
@settings(max_examples=100, deadline=None)
def test_values_come_through(english: str, value: int) -> None:
    message = PLACE.sub(str(value), english)
    told = error_in("zh", message)
    assert told.count(str(value)) == message.count(str(value))
    assert not re.search(r"\{\w+\}", told) or re.search(r"\{\w+\}", message)
    assert error_in("en", message) == message


@pytest.mark.parametrize(
    ("error", "chinese"),
    [
        (NotFound.named("job", "trian", ["train"]), "没有作业“trian”；相近的名称：train"),
        (NotFound.named("version of support", "9", ["1", "2"]), "没有support 的版本“9”；现有：1, 2"),
        (MissingExtra("the recipe", "train"), "the recipe 需要可选组件 [train]：pip install 'stoker[train]'"),
        ("ttft: must be greater than 0", "ttft：应大于 0"),
        ("what nobody has translated", "what nobody has translated"),
        ("what nobody: has translated", "what nobody: has translated"),
    ],
)
def test_sentences_within_sentences_are_told_too(error: StokerError | str, chinese: str) -> None:
    assert error_in("zh", error) == chinese
