"""Masking: what is personal goes, what only looks like it stays, and nothing is found twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipes.curation.pii import is_card_number, is_id_number, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to bob.lee+gpu@mail.corp.cn.", "write to <EMAIL>."),
        ("邮箱：zhang_san@corp.com.cn，谢谢", "邮箱：<EMAIL>，谢谢"),
        ("手机13812345678。", "手机<PHONE>。"),
        ("电话：138 1234 5678", "电话：<PHONE>"),
        ("call +86 138-1234-5678 or (415) 555-2671", "call <PHONE> or <PHONE>"),
        ("office 010-62345678, abroad +49 30 1234567", "office <PHONE>, abroad <PHONE>"),
        ("身份证号11010519491231002X，", "身份证号<ID_NUMBER>，"),
        ("card 4111 1111 1111 1111 or 4111-1111-1111-1111", "card <CARD_NUMBER> or <CARD_NUMBER>"),
        ("银行卡6222020000000000000", "银行卡<CARD_NUMBER>"),
        ("from 8.8.8.8:53 and 2001:4860:4860::8888", "from <IP_ADDRESS>:53 and <IP_ADDRESS>"),
        ("key sk-proj-Ab3dEf6hIj9kLm2nOp5q end", "key <SECRET> end"),
        ("AKIAIOSFODNN7EXAMPLE", "<SECRET>"),
        ("token=ghp_" + "a1" * 18, "token=<SECRET>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", "<SECRET>"),
    ],
)
def test_found(text: str, masked: str) -> None:
    assert mask(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "Xid 79, pid=2187345, GPU 0000:3b:00.0 and 0000:86:00.1 fell off the bus",
        "driver 535.183.01, CUDA 12.4.1.5, firmware 28.39.1.2, version 8.8.4.4, v1.2.3.4",
        "10.1.2.3, 172.16.0.9, 192.168.1.1, 127.0.0.1, 192.0.2.55, 255.255.255.0, 8.8.8.0",
        "GUID 0x506b4b0300c0ffee, MAC 0c:42:a1:5d:3e:7f, fe80::1, std::vector, 12:30:45, 2026:11:21",
        "git@github.com:org/repo.git, user@example.com, admin@localhost",
        "at 1700000000 s, 1700000000123 ms, job 13812345678901, 20240101120000",
        "card 4111 1111 1111 1112, order 1234567890123456, ids 110105194912310021 and 110105194913310020",
        "sk-learn, sk-abc, hf_hub, eyJ, AKIA, loss 3.14159265358979, 1e-13812345678",
        "1 + 1 = 2, 2001-2010, 100-200-300, ISBN 978-7-111-12345-6, RFC 2606, 5:00-6:00",
    ],
)
def test_left_alone(text: str) -> None:
    assert mask(text) == (text, {})


def test_counts_are_by_kind() -> None:
    _, counts = mask("a@b.cn c@d.cn 13812345678 8.8.8.8 1.1.1.1 2001:4860:4860::8888")
    assert counts == {"email": 2, "phone": 1, "ip_address": 3}


def test_check_digits() -> None:
    assert is_id_number("11010519491231002X")
    assert not is_id_number("110105194912310021")
    assert is_card_number("4111111111111111")
    assert not is_card_number("4111111111111112")
    assert not is_card_number("0" * 16)


PERSONAL = st.sampled_from(
    ["bob@corp.cn", "13812345678", "+86 138-1234-5678", "11010519491231002X", "4111 1111 1111 1111", "8.8.8.8",
     "sk-proj-Ab3dEf6hIj9kLm2nOp5q", "2001:4860:4860::8888", "(415) 555-2671"]
)  # fmt: skip
BETWEEN = st.text(alphabet=" ,;.:-/@+()<>中文abc019\n", max_size=12)


@given(st.lists(st.one_of(PERSONAL, BETWEEN), max_size=12).map("".join))
def test_masking_leaves_no_match(text: str) -> None:
    masked, _ = mask(text)
    assert mask(masked) == (masked, {})


@given(PERSONAL, st.sampled_from([" ", "\n", "，", "（"]), st.sampled_from([" ", "\n", "，", "。", "）"]))
def test_between_blanks_and_chinese_marks_all_are_found(personal: str, before: str, after: str) -> None:
    masked, counts = mask(f"x{before}{personal}{after}y")
    assert sum(counts.values()) == 1
    assert personal not in masked
