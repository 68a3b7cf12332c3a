"""Mask personal data and secrets: a pattern for each kind finds candidates, a test throws out the rest.

Meant for few false alarms in technical text: versions, error codes, PCI and MAC addresses, GUIDs, private and
documentation addresses are left alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class _Pattern:
    kind: str  # counted and shown as ``<KIND>``
    hint: re.Pattern[str]  # cheap: where it finds nothing the pattern is not tried
    pattern: re.Pattern[str]
    holds: Callable[[re.Match[str]], bool]


def mask(text: str) -> tuple[str, Mapping[str, int]]:
    """`text` with a placeholder such as ``<EMAIL>`` for each find, and the number of finds by kind."""
    counts: dict[str, int] = {}
    found = -1
    while found < sum(counts.values()):  # a find may have hidden the one beside it
        found = sum(counts.values())
        for item in _PATTERNS:
            if item.hint.search(text) is not None:
                text = item.pattern.sub(_replacement(item, counts), text)
    return text, counts


def _replacement(item: _Pattern, counts: dict[str, int]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        if not item.holds(match):
            return match.group()
        counts[item.kind] = counts.get(item.kind, 0) + 1
        return f"<{item.kind.upper()}>"

    return replace


def _always(_match: re.Match[str]) -> bool:
    return True


def _person_at(match: re.Match[str]) -> bool:
    """Not the address of a git remote, nor one of the names RFC 2606 reserves for examples."""
    name, _, domain = match.group().lower().rpartition("@")
    reserved = re.search(r"(^|\.)(example(\.(com|net|org|cn))?|test|invalid|localhost)$", domain)
    return name != "git" and not reserved


def _digits(match: re.Match[str]) -> str:
    return re.sub(r"\D", "", match.group())


def is_id_number(number: str) -> bool:
    """A resident identity number of China: GB 11643-1999, with a real date and the right check digit."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def is_card_number(digits: str) -> bool:
    """A payment card: a known issuer's prefix and length, and Luhn's check digit (ISO/IEC 7812)."""
    issuers = r"4\d{12}(\d{3}){0,2}|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|6(011|5\d\d)\d{12}|62\d{14,17}|35\d{14}"
    if not re.fullmatch(issuers, digits) or len(set(digits)) == 1:
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_phone(match: re.Match[str]) -> bool:
    return 7 <= len(_digits(match)) <= 15


def _public_address(match: re.Match[str]) -> bool:
    """Routable on the internet; private ones name machines, not people."""
    try:
        return ipaddress.ip_address(match.group()).is_global
    except ValueError:
        return False


def _public_v4(match: re.Match[str]) -> bool:
    """Four parts after a word such as "version" are a version, and a zero at the end names a network."""
    before = match.string[max(0, match.start() - 24) : match.start()].lower()
    return not match.group().endswith(".0") and not _VERSIONED.search(before) and _public_address(match)


_VERSIONED = re.compile(
    r"(versions?|ver|releases?|drivers?|firmware|fw|v?bios|build|kernel|cuda|cudnn|nccl|m?ofed|doca|rocm|cann|hccl"
    r"|tensorrt|版本|固件|驱动)[\s:=]*\(?\Z|[a-z]\Z"
)


_KEYS = r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----[\s\S]*?-----END\ [A-Z ]*PRIVATE\ KEY-----
  | (?<![A-Za-z0-9_-]) (?:
        sk-(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{20,}          # OpenAI and its likes
      | (?:AKIA|ASIA)[0-9A-Z]{16} | LTAI[0-9A-Za-z]{12,24} # AWS, Alibaba Cloud
      | gh[pousr]_[A-Za-z0-9]{36,} | github_pat_[A-Za-z0-9_]{40,} | glpat-[A-Za-z0-9_-]{20,}
      | hf_[A-Za-z0-9]{30,} | xox[abprs]-[A-Za-z0-9-]{10,} | AIza[0-9A-Za-z_-]{35}
      | eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,} # a JSON web token
    ) (?![A-Za-z0-9_-])
"""
_PHONE = r"""
    (?<![\w.+/:#=-]) (?:
        (?:\+?86[ -]?|\(\+?86\)[ ]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}   # mobile, China
      | 0\d{2,3}-\d{7,8}                                            # landline, China
      | \+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}   # international
      | (?:\(\d{3}\)[ ]?|\d{3}-)\d{3}-\d{4}                         # North America
    ) (?![\w]|[.:/-]\d)
"""
_V4 = r"(?<![\w.:/-])(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\w-]|\.\d)"
_V6 = r"(?<![\w.:])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])"

_PATTERNS = (  # the longer and more certain first, so that none eats a part of another
    _Pattern(
        "secret",
        re.compile(r"sk-|A[KS]IA|LTAI|gh[pousr]_|github_pat_|glpat-|hf_|xox[abprs]-|AIza|eyJ|PRIVATE KEY"),
        re.compile(_KEYS, re.VERBOSE),
        _always,
    ),
    _Pattern(
        "email",
        re.compile("@"),
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
        ),
        _person_at,
    ),
    _Pattern(
        "id_number",
        re.compile(r"\d{17}"),
        re.compile(r"(?<![\w.])[1-9]\d{5}(?:18|19|20)\d{9}[\dXx](?!\w)", re.ASCII),
        lambda match: is_id_number(match.group()),
    ),
    _Pattern(
        "card_number",
        re.compile(r"\d{4}[ -]?\d"),
        re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])", re.ASCII),
        lambda match: is_card_number(_digits(match)),
    ),
    _Pattern("phone", re.compile(r"\d{4}"), re.compile(_PHONE, re.VERBOSE | re.ASCII), _is_phone),
    _Pattern("ip_address", re.compile(r"\d\.\d"), re.compile(_V4, re.ASCII), _public_v4),
    _Pattern("ip_address", re.compile(r"[23][0-9A-Fa-f]{3}:"), re.compile(_V6, re.ASCII), _public_address),
)
