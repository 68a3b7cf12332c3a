"""Chinese texts: every English one has its own, with the same places."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from stoker.cli import main, texts
from stoker.cli.commands import COMMANDS, SECTIONS
from stoker.cli.texts_help import HELP
from stoker.errors import BadInput
from stoker.job import JobState

SOURCE = Path(texts.__file__).parent


def _used() -> set[str]:
    """First arguments of all calls of ``t``."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t":
                first = node.args[0]
                where = f"{path.name}:{node.lineno}"
                assert isinstance(first, ast.Constant), (
                    f"{where}: t() takes a literal; what is not known is for word()"
                )
                found.add(str(first.value))
    return found


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_text_is_translated_with_the_same_places() -> None:
    used = _used()
    assert len(used) > 60
    assert used - set(texts.ZH) == set()
    for english, chinese in texts.ZH.items():
        assert _places(english) == _places(chinese), english


def test_the_first_screen_is_translated() -> None:
    lines = {command.line for command in COMMANDS} | set(SECTIONS)
    assert lines - set(HELP) == set()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--help",), "运行命令、作业文件或 sbatch 脚本。"),
        (("why", "--help"), "作业为何等待或失败，以及如何处理。"),
        (("--bogus",), "没有选项 --bogus；参见：stoker --help"),
        (("logs",), "缺少参数 JOB；参见：stoker logs --help"),
        (("runn",), "没有命令“runn”；相近的名称：run；参见：stoker --help"),
    ],
)
def test_help_and_wrong_words_are_told_in_the_callers_language(
    arguments: tuple[str, ...], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOKER_LANG", "zh")
    main(list(arguments))
    said = capsys.readouterr()
    assert part in said.out + said.err


def test_the_language_may_be_named_before_the_help_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--lang", "zh", "--help"])
    assert "从数据到上线的模型。" in capsys.readouterr().out


def test_every_state_of_a_job_has_a_word() -> None:
    texts.use("zh")
    assert all(texts.word(state.value) != state.value for state in JobState)
    assert texts.word("some_new_reason") == "some new reason"


@pytest.mark.parametrize(
    ("environ", "given", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "", "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "", "en"),
        ({"LANG": "de_DE.UTF-8"}, "", "en"),
        ({"LANG": "en_US.UTF-8", "STOKER_LANG": "zh"}, "", "zh"),
        ({"STOKER_LANG": "zh"}, "en", "en"),
        ({}, "zh-Hans", "zh"),
        ({}, "", "en"),
    ],
)
def test_the_language_is_the_callers(
    environ: dict[str, str], given: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STOKER_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    texts.use(given)
    assert texts.t("waiting") == {"en": "waiting", "zh": "等待"}[language]


def test_an_unknown_language_is_refused_when_it_was_asked_for() -> None:
    with pytest.raises(BadInput, match="allowed are en, zh"):
        texts.use("fr")
