"""Duplicates: clusters do not depend on order, MinHash tells similarity, held-out records have precedence."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipes.curation.dedup import CHAT, TEXT, Signer, clusters, exact_key, judge, prompt_key
from stoker.recipes.curation.record import Content, Message
from stoker.recipes.curation.words import Vocabulary

ROWS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), max_size=30)


def partition(rows: list[list[int]]) -> list[list[int]]:
    """Which rows are of one cluster, found the slow way: join until nothing joins. 0 joins nothing."""
    groups = [{place} for place in range(len(rows))]
    for left in range(len(rows)):
        for right in range(left):
            if any(a == b != 0 for a, b in zip(rows[left], rows[right], strict=True)):
                one, two = (next(group for group in groups if place in group) for place in (left, right))
                if one is not two:
                    groups.remove(two)
                    one |= two
    return sorted(sorted(group) for group in groups)


def found(rows: list[list[int]]) -> list[list[int]]:
    labels = clusters(np.array(rows, np.uint64).reshape(len(rows), 3), np.arange(len(rows)))
    return sorted(sorted(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist()))


@given(ROWS)
def test_clusters_are_the_connected_records(rows: list[list[int]]) -> None:
    assert found(rows) == partition(rows)


@given(ROWS, st.randoms(use_true_random=False))
def test_clusters_do_not_depend_on_the_order(rows: list[list[int]], shuffle: random.Random) -> None:
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    shuffled = found([rows[place] for place in order])
    assert sorted(sorted(order[place] for place in group) for group in shuffled) == found(rows)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
def test_verdicts(records: list[tuple[int, int, bool]]) -> None:
    """One of equals stays, of the held-out part if any is there; no training prompt is held out."""
    exact, prompts = (np.array([record[part] for record in records], np.uint64) for part in (0, 1))
    heldout = np.array([record[2] for record in records])
    verdicts = judge(exact, prompts, np.zeros((len(records), 2), np.uint64), heldout)
    stays = verdicts.reasons == ""
    assert all((exact[stays] == key).sum() <= 1 for key in set(exact.tolist()))
    assert set(prompts[stays & ~heldout].tolist()).isdisjoint(prompts[stays & heldout].tolist())
    assert set(exact[heldout].tolist()) == set(exact[heldout & stays].tolist())
    gone = np.flatnonzero(~stays)
    assert stays[verdicts.instead[gone]].all()
    assert set(verdicts.reasons[gone][heldout[gone]].tolist()) <= {"exact_duplicate"}


def similar_texts(share: float, draw: random.Random) -> tuple[str, str]:
    """Two texts whose 5-word shingles have about the Jaccard similarity `share`: a common start, different ends."""
    common = round(300 * 2 * share / (1 + share))
    words = ["".join(draw.choices("abcdefghij", k=8)) for _ in range(600 - common)]
    return " ".join(words[:300]), " ".join(words[:common] + words[300:])


def test_minhash_finds_the_similar_and_not_the_different() -> None:
    """At similarity 0.5, 0.72 and 0.9 a band is shared with probability 0.05, 0.65 and 0.9995."""
    draw = random.Random(5)  # noqa: S311
    signer = Signer(TEXT, Vocabulary())
    shares: dict[float, float] = {}
    for similarity in (0.3, 0.5, 0.72, 0.9):
        pairs = [similar_texts(similarity, draw) for _ in range(50)]
        left, right = (signer.bands([pair[side] for pair in pairs]) for side in (0, 1))
        shares[similarity] = float((left == right).any(axis=1).mean())
    assert shares[0.3] <= 0.05
    assert shares[0.5] <= 0.2
    assert 0.4 <= shares[0.72] <= 0.9
    assert shares[0.9] >= 0.95


def chat(question: str, answer: str = "An answer.") -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def share_a_band(*contents: Content) -> bool:
    left, right = Signer(CHAT, Vocabulary()).bands(contents)
    return bool((left == right).any() and left.any())


def test_what_makes_conversations_near() -> None:
    asked = (
        "Which of the fans in this chassis has to be replaced first when the inlet is too warm and node 7 throttles"
    )
    assert share_a_band(chat(asked), chat(asked.lower() + "?"))
    assert not share_a_band(chat(asked), chat(asked.replace("7", "8")))
    assert not share_a_band(chat(asked), chat(asked, "Another answer."))
    assert not share_a_band(chat("Why?"), chat("How?"))
    assert share_a_band(chat("Why?"), chat("why"))


def test_keys_ignore_case_and_white_space_and_know_roles() -> None:
    assert exact_key("A  b\nc") == exact_key("a b c")
    assert exact_key(chat("a", "b")) != exact_key(chat("a b", "b"))
    system: list[Message] = [{"role": "system", "content": "Be brief."}]
    assert prompt_key([*system, *chat("a")]) == prompt_key(chat("A", "other"))
    assert prompt_key(chat("a")) != prompt_key(chat("b"))


def test_workers_with_different_memories_agree() -> None:
    fresh, old = Vocabulary(), Vocabulary()
    old.plain("other words came first and took other places")
    text = "these words are hashed by what they are and not by where they stand"
    assert (Signer(TEXT, fresh).bands([text]) == Signer(TEXT, old).bands([text])).all()
    assert Signer(TEXT, fresh).bands([]).shape == (0, TEXT.bands)
    assert not Signer(TEXT, fresh).bands(["too short"]).any()
