"""What a form is told when it was filled in wrongly, in the reader's language."""

from __future__ import annotations

import re

import httpx
import pytest

from stoker.account import Role
from tests.console.page import Page
from tests.console.platform import Platform

_SENTENCE = re.compile(r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b")  # three English words in a row
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_COMMAND = re.compile(r"stoker [a-z]+( [a-z]+)*")

# Each form with wrong input: path, fields, what must be in the answer.
POSTS: list[tuple[str, dict[str, str], str]] = [
    ("/login", {"key": "sk-stk-wrong"}, "密钥不存在或已吊销"),
    ("/keys", {"name": "x", "role": "king", "tenant": "speech"}, "没有角色“king”"),
    ("/keys", {"name": "a/b", "role": "user", "tenant": "speech"}, "不能用作密钥的名称"),
    ("/keys", {"name": "x", "role": "user", "tenant": "a/b"}, "不能用作密钥的租户"),
    ("/keys/none/revoke", {}, "没有密钥“none”"),
    ("/jobs/99999/cancel", {}, "没有作业“99999”"),
    ("/endpoints/gpu-ops", {"min": "5", "max": "2"}, "先写最少"),
    ("/endpoints/gpu-ops", {"min": "x"}, "应为不小于"),
    ("/endpoints/gpu-ops", {"target": "many"}, "应为数字"),
    ("/endpoints/gpu-ops", {"target": "0"}, "应大于 0"),
    ("/endpoints/gpu-ops", {"ttft": "soon"}, "不是延迟"),
    ("/endpoints/gpu-ops", {"window": "soon"}, "不是时长"),
    ("/endpoints/gpu-ops", {"idle": "60"}, "缺少单位"),
    ("/endpoints/gpu-ops/deploy", {"version": "99"}, "没有版本 99"),
    ("/endpoints/gpu-ops/deploy", {"version": "last"}, "version：应为整数"),
    ("/endpoints/gpu-ops/deploy", {}, "version：未填写"),
    ("/endpoints/none/stop", {}, "没有端点“none”"),
    ("/models/gpu-ops/promote", {"version": "99"}, "没有版本 99"),
    ("/models/none/promote", {"version": "1"}, "没有模型“none”"),
    ("/models/none/rollback", {}, "没有模型“none”"),
    ("/moves/99/undo", {}, "没有节点移动 99"),
    ("/notebooks/99999/stop", {}, "没有作业“99999”"),
    ("/shipments/ship-none/cancel", {}, "没有交付“ship-none”"),
    ("/shipments/ship-none/resume", {}, "没有交付“ship-none”"),
]

PLANS: list[tuple[str, dict[str, str]]] = [
    ("/plans", {"count": "0"}),
    ("/plans", {"count": "12"}),
    ("/plans", {"topology": "star"}),
    ("/plans", {"ratio": "x"}),
    ("/plans", {"card": "H1"}),
    ("/plans/memory", {"model": "none"}),
    ("/plans/memory", {"card": "none"}),
    ("/plans/memory", {"count": "x"}),
    ("/plans/memory", {"tp": "3"}),
    ("/plans/memory", {"pp": "1000"}),
    ("/plans/memory", {"ep": "2"}),
    ("/plans/memory", {"precision": "fp3"}),
    ("/plans/memory", {"sharding": "none such"}),
    ("/plans/training", {"nic": "400"}),
    ("/plans/training", {"sequence": "2000000", "count": "8"}),
    ("/plans/training", {"batch": "x"}),
    ("/plans/serving", {"rate": "-1"}),
    ("/plans/serving", {"rate": "x"}),
    ("/plans/serving", {"tpot": "0.00001"}),
    ("/plans/serving", {"formats": "fp3"}),
    ("/plans/purchase", {"cards": ""}),
    ("/plans/purchase", {"cards": "H100", "prices": "H100"}),
    ("/plans/purchase", {"train": "", "serve": ""}),
    ("/plans/storage", {"keep": "0"}),
    ("/plans/storage", {"dataset": "x"}),
    ("/plans/storage", {"every": "-1"}),
]


def complaints(answer: httpx.Response) -> str:
    """What the page says of what was wrong."""
    found = re.findall(r'role="alert"[^>]*>(.*?)</(?:p|section)>|class="claim">(.*?)</p>', answer.text, re.DOTALL)
    told = " ".join(part for pair in found for part in pair)
    return " ".join(re.sub(r"<[^>]+>", " ", told).replace("&#34;", '"').replace("&#39;", "'").split())


def assert_chinese(told: str) -> None:
    assert _CHINESE.search(told), told
    assert not _SENTENCE.search(_COMMAND.sub("", told)), told


@pytest.mark.parametrize(("path", "fields", "part"), POSTS)
def test_wrong_input_is_told_in_the_readers_language(
    furnished: Platform, path: str, fields: dict[str, str], part: str
) -> None:
    with furnished.visitor(language="zh") as browser:
        answer = browser.post(path, data=fields)
    assert 200 <= answer.status_code < 500
    if answer.status_code == 303:
        pytest.fail(f"{path} took {fields}")
    told = complaints(answer)
    assert_chinese(told)
    assert part in told
    assert not Page(answer.text).raw_keys


@pytest.mark.parametrize(("path", "fields"), PLANS)
def test_wrong_plans_are_told_in_the_readers_language(
    furnished: Platform, path: str, fields: dict[str, str]
) -> None:
    with furnished.visitor(language="zh") as browser:
        told = complaints(browser.get(path, params=fields))
    assert_chinese(told.replace("nvidia", ""))


def test_who_may_not_is_told_in_the_readers_language(furnished: Platform) -> None:
    with furnished.visitor(furnished.key(Role.VIEWER), language="zh") as browser:
        for path in ("/jobs/1/cancel", "/endpoints/gpu-ops/stop", "/models/gpu-ops/rollback"):
            assert_chinese(complaints(browser.post(path)))
        assert_chinese(complaints(browser.get("/keys")))
        stranger = browser.post("/jobs/1/cancel", headers={"origin": "http://elsewhere.example"})
        assert_chinese(complaints(stranger))


def test_english_readers_get_the_sentence_as_it_was_raised(furnished: Platform) -> None:
    with furnished.visitor() as browser:
        told = complaints(browser.post("/keys", data={"name": "x", "role": "king", "tenant": "speech"}))
    assert '"king" is no role; there are:' in told
