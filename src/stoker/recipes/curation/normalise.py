"""Normalise: one spelling for text that looks the same."""

from __future__ import annotations

import re
import unicodedata

# Control characters but tab and newline, the byte-order mark, soft hyphen, zero-width space and word joiner, and
# marks that turn the writing direction. The joiners U+200C and U+200D stay: Persian, Hindi and emoji use them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_NEWLINE = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SPACE = re.compile(
    "[\u00a0\u1680\u2000-\u200a\u202f\u205f]"
)  # of any width; U+3000 is meant in Chinese typesetting
_TRAILING = re.compile(r"[ \t]+\n")
_ANY_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u2028\u2029]|[\u200b-\u2069\ufeff]")
_GAP = re.compile(r"\n{3,}")

# UTF-8 that was once read as Windows-1252: a lead byte and its continuation bytes, as that code page shows them.
_CONTINUATION = "[\u0080-\u00bf" + re.escape(bytes(range(0x80, 0xA0)).decode("cp1252", "ignore")) + "]"
_MOJIBAKE = re.compile(
    f"[\u00c2-\u00df]{_CONTINUATION}|[\u00e0-\u00ef]{_CONTINUATION}{{2}}|[\u00f0-\u00f4]{_CONTINUATION}{{3}}"
)


def normalise(text: str) -> str:
    """NFC, newlines as ``\\n``, plain spaces, nothing invisible, no trailing blanks, no two empty lines in a row.

    Mojibake such as ``donâ€™t`` is mended. ``normalise(normalise(text)) == normalise(text)``.
    """
    mended = _mended(text)
    while True:
        text = _cleaned(mended)
        mended = _mended(text)  # what stood apart may now be mojibake; each time shorter, so this ends
        if mended == text:
            return text


def _mended(text: str) -> str:
    return text if text.isascii() else _MOJIBAKE.sub(_mend, text)


def _cleaned(text: str) -> str:
    if not text.isascii():
        text = _SPACE.sub(" ", unicodedata.normalize("NFC", text))
    if _ANY_CONTROL.search(text):
        text = _INVISIBLE.sub("", _NEWLINE.sub("\n", text))
        text = unicodedata.normalize("NFC", text)  # what was apart may now compose
    if " \n" in text or "\t\n" in text:
        text = _TRAILING.sub("\n", text)
    return (_GAP.sub("\n\n", text) if "\n\n\n" in text else text).strip()


def _mend(match: re.Match[str]) -> str:
    broken = match.group()
    try:
        raw = b"".join(c.encode("latin-1") if ord(c) < 256 else c.encode("cp1252") for c in broken)
        return raw.decode()
    except ValueError:
        return broken
