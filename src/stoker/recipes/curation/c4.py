"""C4's rules (Raffel et al. 2020, section 2.2), in the reading of datatrove 0.10: made for pages of the web.

They remove lines as well as texts: headings, menus, tables and code have no full stop at the end.
"""

from __future__ import annotations

import re

from stoker.recipes.curation.record import Rejected

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_END = (".", "?", "!", '"', "'", "。", "？", "！", "”", "」")
_POLICY = re.compile("terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies")
_SENTENCE_END = re.compile(r"(?<!\b[A-Za-z])[.!?][\"')\]]*\s+(?=\S)|[。！？](?=.)")
_MIN_SENTENCES = 5
_MIN_WORDS = 3  # in a line
_MIN_HAN = 5  # characters in a line of a script without blanks
_MAX_WORD = 1000  # characters
_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def c4(text: str) -> str:
    """The lines of `text` worth keeping; raises Rejected for texts that are not worth it at all.

    Reasons: lorem_ipsum, curly_bracket, too_few_sentences.
    """
    kept = []
    sentences = 0
    for raw in text.splitlines():
        line = _kept(raw.strip())
        if not line:
            continue
        kept.append(line)
        if sentences < _MIN_SENTENCES:
            sentences += 1 + len(_SENTENCE_END.findall(line))
    if sentences < _MIN_SENTENCES:
        raise Rejected("too_few_sentences", f"{sentences}")
    return "\n".join(kept)


def _kept(line: str) -> str:
    """`line` without citation marks, or "" when it is to go."""
    if len(line) > _MAX_WORD and any(len(word) > _MAX_WORD for word in line.split()):
        return ""
    given = line
    if "[" in line:
        line = _CITATION.sub("", line)
    if not line.endswith(_END) or line.endswith("..."):
        return ""
    if given.count(" ") < _MIN_WORDS and _too_short(given):
        return ""
    lowered = line.lower()
    if "lorem ipsum" in lowered:
        raise Rejected("lorem_ipsum", line[:80])
    if "javascript" in lowered:
        return ""
    if "{" in line:
        raise Rejected("curly_bracket", line[:80])
    return "" if _POLICY.search(lowered) else line


def _too_short(line: str) -> bool:
    return len(line.split()) < _MIN_WORDS and len(_HAN.findall(line)) < _MIN_HAN
