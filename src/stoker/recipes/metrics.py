"""How alike an answer and its reference are, from 0 to 1."""

from __future__ import annotations

import importlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

from stoker.errors import BadInput, near

Metric = Callable[[str, str], float]  # (answer, reference) -> score


def exact_match(answer: str, reference: str) -> float:
    """1 when they are equal but for case, width of characters and white space."""
    return float(normal(answer) == normal(reference))


def contains(answer: str, reference: str) -> float:
    """1 when the reference stands somewhere in the answer."""
    return float(normal(reference) in normal(answer))


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, as SQuAD counts them; over characters in Chinese."""
    given, due = Counter(words(answer)), Counter(words(reference))
    common = (given & due).total()
    if not common:
        return float(given == due)
    precision, recall = common / given.total(), common / due.total()
    return 2 * precision * recall / (precision + recall)


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words (Lin 2004, beta 1)."""
    given, due = words(answer), words(reference)
    common = _longest_common(given, due)
    return 2 * common / (len(given) + len(due)) if given or due else 1.0


METRICS: dict[str, Metric] = {
    "exact_match": exact_match,
    "contains": contains,
    "token_f1": token_f1,
    "rouge_l": rouge_l,
}


def metric(name: str) -> Metric:
    """The metric of that name, or a function of the user's named ``module:function``; BadInput for neither."""
    if name in METRICS:
        return METRICS[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise BadInput(f'no metric "{name}"{near(name, METRICS)}, or module:function of your own', param="metric")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise BadInput(f'metric "{name}" cannot be imported: {error}', param="metric") from None
    if not callable(found):
        raise BadInput(f'metric "{name}" is no function', param="metric")

    def scored(answer: str, reference: str) -> float:
        return float(found(answer, reference))

    return scored


def normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Words, with every Chinese, Japanese or Korean character a word of its own."""
    spaced = "".join(f" {letter} " if "\u3040" <= letter <= "\u9fff" else letter for letter in normal(text))
    return "".join(letter if letter.isalnum() or letter == " " else " " for letter in spaced).split()


def _longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence, in one row of memory."""
    best = [0] * (len(right) + 1)
    for word in left:
        corner = 0
        for at, other in enumerate(right, start=1):
            corner, best[at] = best[at], corner + 1 if word == other else max(best[at], best[at - 1])
    return best[-1]
