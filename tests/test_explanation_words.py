"""Explanations in words: each code has a sentence in each language, with the same values."""

from __future__ import annotations

import string

import pytest

from stoker import explanation_texts as texts_of
from stoker import explanation_words as words
from stoker.explanation import Because, Cause, Change, ChangeKind, Ending, Refusal, Shield, Shielded, Value, Victim
from stoker.schedule.victims import Loss
from stoker.spelling import parse_accelerators


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize(
    "texts",
    [
        texts_of.ASKED, texts_of.CAUSES, texts_of.CHANGES, texts_of.REFUSALS, texts_of.ENDING, texts_of.LOSSES,
        texts_of.SHIELDS,
    ],
)  # fmt: skip
def test_both_languages_name_the_same_values(texts: dict[str, tuple[str, str]]) -> None:
    for key, (english, chinese) in texts.items():
        assert _places(english) == _places(chinese), key


def test_every_code_has_its_words() -> None:
    assert {key.partition(".")[0] for key in texts_of.CAUSES} == set(Cause)
    assert set(texts_of.CHANGES) == set(ChangeKind)
    assert set(texts_of.REFUSALS) == set(Refusal)
    assert set(texts_of.SHIELDS) == set(Shield)
    assert set(texts_of.LOSSES) == set(Loss)


def test_every_cause_and_every_kind_of_limit_has_a_remedy() -> None:
    assert {key.partition(".")[0] for key in texts_of.REMEDIES} == set(Cause)
    limits = {key for key in texts_of.CAUSES if key.startswith("quota")}
    assert {key for key in texts_of.REMEDIES if key.startswith("quota")} == limits
    for key, (english, chinese) in texts_of.REMEDIES.items():
        of = next(texts for name, texts in texts_of.CAUSES.items() if name == key)
        assert _places(english) == _places(chinese) <= _places(of[0]), key


def test_a_limit_says_when_other_numbers_hold_and_what_to_do() -> None:
    values: dict[str, Value] = {
        "limit": "ceiling",
        "queue": "q",
        "most": 0.0,
        "held": 0.0,
        "wanted": 2.0,
        "changes_in_s": 7200.0,
    }
    closed = Because(Cause.QUOTA, values)
    assert (
        words.cause_in("en", closed) == 'queue "q" is closed: it may hold no device now; other numbers hold in 2 h'
    )
    assert words.cause_in("zh", closed) == "队列“q”已关闭：目前不得占用加速卡；2 小时后改用其他数值"
    assert words.remedy_in("en", closed).startswith("submit it to another queue")
    jobs = Because(Cause.QUOTA, {"limit": "user_jobs", "queue": "q", "held": 3})
    assert words.remedy_in("zh", jobs) == "提交者的作业结束后即启动；或由管理员执行：stoker queue set q --user-jobs"


@pytest.mark.parametrize(
    ("because", "english", "chinese"),
    [
        (
            Because(
                Cause.FRAGMENTATION,
                {"devices": 4, "models": "H100", "nodes": 2, "free": 9, "total": 16, "largest": 3, "starved": 0},
            ),
            "it needs 4 × H100 on each of 2 nodes; 9 of 16 devices are free, but in slivers: at most 3 on one node",
            "需要 2 个节点各 4 × H100；16 张加速卡中空闲 9 张，但很零散：单个节点最多 3 张",
        ),
        (
            Because(Cause.RESERVATION, {"job": "17_2", "devices": 8, "nodes": 8, "in_s": 7200.0}),
            "there is room, kept for job 17_2 (8 devices on each of 8 nodes), which begins in 2 h at the latest",
            "有空位，但为作业 17_2（8 个节点各 8 张加速卡）预留，它最迟2 小时后开始",
        ),
        (
            Because(Cause.QUOTA, {"limit": "ceiling", "queue": "q", "most": 4.0, "held": 2.5, "wanted": 2.0}),
            'queue "q" may hold 4 devices and holds 2.5; this job wants 2',
            "队列“q”最多占用 4 张加速卡，已占用 2.5 张；本作业需要 2 张",
        ),
    ],
)
def test_a_cause_is_one_sentence(because: Because, english: str, chinese: str) -> None:
    assert words.cause_in("en", because) == english
    assert words.cause_in("zh", because) == chinese


def test_a_change_says_with_which_option_it_is_asked_for() -> None:
    change = Change(ChangeKind.MODEL, {"model": "H20", "models": "H100 or A100", "devices": 8}, 0.3)
    assert words.change_in("en", change) == "take H20 as well as H100 or A100"
    assert words.option_of(change) == "--gpus 'H100|A100|H20:8'"
    assert parse_accelerators("H100|A100|H20:8").models == ("H100", "A100", "H20")
    shorter = Change(ChangeKind.SHORTER, {"limit_s": 3540.0}, 0.1)
    assert words.option_of(shorter) == "--time 59"
    memory = Change(ChangeKind.MEMORY, {"memory_bytes": 4 << 30, "was_bytes": 8 << 30}, 0.1)
    assert words.option_of(memory) == "--mem 4096M"
    assert "4.0 GiB" in words.change_in("zh", memory)


def test_who_would_be_ended_and_what_that_costs_is_told_in_both_languages() -> None:
    victim = Victim("12", "train", "anna", "t", 8, 16, "saved", 240.0)
    assert words.loss_in("en", victim) == "loses 4 min of work, since it last saved itself"
    assert words.loss_in("zh", victim) == "损失 4 分 的工作（自上次保存以来）"
    assert words.ending_in("en", Ending((victim,), left_s=180.0)).startswith("when these have run")
    assert words.ending_in("zh", Ending()) == "占用者均不可为它抢占"
    assert words.shielded_in("en", Shielded(Shield.TIME, 2, 60.0)).startswith(
        "2: not yet run for their minimal time"
    )
    assert words.shielded_in("zh", Shielded(Shield.JOB, 3)) == "3 个：不可抢占"
