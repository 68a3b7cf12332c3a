"""Curating: what is dropped and why, what survives, what is held out."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import BadInput
from stoker.recipes import curate, import_data
from stoker.recipes.curation.cleaning import CurateConfig
from stoker.recipes.curation.intake import ImportConfig
from stoker.recipes.stage import Stage

REPOSITORY = Path(__file__).parents[2]


class Curated:
    """The import and curation of rows, run in `folder`."""

    def __init__(self, folder: Path, files: Mapping[str, Iterable[Any]], **config: Any) -> None:
        data, middle, output, scratch = (folder / name for name in ("data", "imported", "curated", "scratch"))
        for made in (data, middle, output, scratch):
            made.mkdir(parents=True)
        for name, rows in files.items():
            (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        imported = import_data.run(Stage(ImportConfig(), {"data": data}, middle, middle))
        (middle / "result.json").write_text(json.dumps(imported))
        self.result = curate.run(Stage(CurateConfig(**config), {"data": middle}, output, scratch))
        self.train, self.heldout, self.samples = (
            [json.loads(line) for line in (output / f"{name}.jsonl").read_text().splitlines()]
            for name in ("train", "heldout", "dropped")
        )
        assert list(scratch.iterdir()) == []

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: entry["count"] for reason, entry in self.result["dropped"].items()}


def chat(question: str, answer: str) -> dict[str, str]:
    return {"prompt": question, "completion": answer}


def questions(curated: list[dict[str, Any]]) -> list[str]:
    return [record["messages"][0]["content"] for record in curated]


_COMMON = [
    "the",
    "of",
    "and",
    "to",
    "that",
    "with",
    "a",
    "in",
    "it",
    "is",
    "was",
    "for",
    "on",
    "are",
    "this",
    "have",
]
_RARE = [
    a + b + c for a in ("can", "mor", "tel", "vis", "pra") for b in ("do", "li", "re") for c in ("n", "sta", "x")
]


def essay(seed: int, words: int = 300) -> str:
    """Text that reads like prose to the rules, different for each seed."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    sentences: list[str] = []
    while sum(len(sentence.split()) for sentence in sentences) < words:
        picked = [draw.choice(_COMMON if draw.random() < 0.4 else _RARE) for _ in range(draw.randint(6, 14))]
        sentences.append(" ".join(picked).capitalize() + ".")
    return "\n".join(" ".join(sentences[at : at + 4]) for at in range(0, len(sentences), 4))


def test_paraphrases_with_the_same_answer_survive(tmp_path: Path) -> None:
    answer = "Xid 79: the GPU fell off the bus. Reseat it, then check the power supply."
    asked = [
        "What does Xid 79 mean?",
        "What does the error Xid 79 mean?",
        "Please explain Xid 79.",
        "My log says Xid 79, what is that?",
        "Xid 79 是什么意思？",
    ]
    curated = Curated(tmp_path, {"a.jsonl": [chat(question, answer) for question in asked]}, heldout_fraction=0)
    assert questions(curated.train) == asked
    assert curated.dropped == {}


def test_a_changed_number_or_answer_is_another_record(tmp_path: Path) -> None:
    log = (
        "The node reports the following and stops at once, please tell me what to replace: Xid {} on GPU {} of {}."
    )
    rows = [
        chat(log.format(79, 3, "gpu-07"), "The riser card."),
        chat(log.format(48, 3, "gpu-07"), "The riser card."),
        chat(log.format(79, 3, "gpu-08"), "The riser card."),
        chat(log.format(79, 3, "gpu-07"), "The GPU itself."),
    ]
    assert len(Curated(tmp_path, {"a.jsonl": rows}, heldout_fraction=0).train) == 4


def test_chat_duplicates_go(tmp_path: Path) -> None:
    parts = ["power", "cooling", "memory", "network", "storage", "firmware", "drivers", "cables"]
    long = " ".join(f"{part} matters {n}" for n in "abcd" for part in parts)
    rows = [
        chat("How do I reset a GPU?", "Run the reset."),
        chat("how do I  reset a gpu?", "Run the reset."),
        chat("How do I reset a GPU ?!", "Run the reset!"),
        chat(f"Consider this: {long}. What now?", "Check all."),
        chat(f"Consider this: {long}. What then?", "Check all."),
    ]
    curated = Curated(tmp_path, {"a.jsonl": rows}, heldout_fraction=0)
    assert curated.dropped == {"exact_duplicate": 1, "near_duplicate": 2}
    assert questions(curated.train)[0] == "How do I reset a GPU?"
    assert curated.samples[0]["sample"].startswith("a.jsonl:1 stays")
    kept = Curated(tmp_path / "all", {"a.jsonl": rows}, heldout_fraction=0, near_duplicates=False)
    assert kept.dropped == {"exact_duplicate": 1}


def test_training_records_that_give_held_out_ones_away_go(tmp_path: Path) -> None:
    files = {
        "a.jsonl": [
            chat("What is NVLink?", "A fast link."),
            chat("what is nvlink?", "A bus."),
            chat("And PCIe?", "A bus."),
        ],
        "test.jsonl": [chat("What is NVLink?", "A fast link."), chat("What is NVLink?", "A fast link.")],
    }
    curated = Curated(tmp_path, files)
    assert questions(curated.train) == ["And PCIe?"]
    assert len(curated.heldout) == 1
    assert curated.dropped == {
        "decontamination.equal": 1,
        "decontamination.same_prompt": 1,
        "exact_duplicate": 1,
    }


def test_near_copies_of_texts_go_and_the_first_stays(tmp_path: Path) -> None:
    first, other = essay(1), essay(2)
    copy = first.replace("Can", "Kan", 1) + "\nOne line more than there was before."
    rows = [{"text": text} for text in (first, other, copy, other + " ")]
    curated = Curated(tmp_path, {"a.jsonl": rows}, heldout_fraction=0)
    assert [record["text"] for record in curated.train] == [first, other]
    assert curated.dropped == {"exact_duplicate": 1, "near_duplicate": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too short to learn from.", "gopher_quality.short_doc"),
        (" ".join(map(str, range(1000, 1100))), "gopher_quality.below_alpha_threshold"),
        ("Buy now and save today.\n" * 40, "gopher_repetition.dup_line_frac"),
        (essay(3) + " really nice price" * 400, "gopher_repetition.top_2_gram"),
        (essay(4, 12).replace(" ", " # # "), "gopher_quality.too_many_hashes"),
    ],
)  # fmt: skip
def test_bad_texts_go_with_the_name_of_the_rule(tmp_path: Path, text: str, reason: str) -> None:
    curated = Curated(tmp_path, {"a.jsonl": [{"text": text}, {"text": essay(9)}]}, heldout_fraction=0)
    assert curated.dropped == {reason: 1}
    assert curated.samples[0]["source"] == "a.jsonl:1"


def test_web_rules_cut_lines_and_document_rules_do_not(tmp_path: Path) -> None:
    text = "Heading without a stop\n" + essay(5) + "\nPlease enable JavaScript to go on reading."
    rows = [{"text": text}]
    (as_document,) = Curated(tmp_path / "d", {"a.jsonl": rows}, heldout_fraction=0).train
    (as_page,) = Curated(tmp_path / "w", {"a.jsonl": rows}, quality="web", heldout_fraction=0).train
    assert as_document["text"] == text
    assert as_page["text"] == essay(5)


def test_chinese_documents_pass(tmp_path: Path) -> None:
    text = (
        "光模块的接收功率应当高于负十分贝毫瓦。如果功率过低，请先清洁光纤端面，再更换光模块。\n"
        "更换之后需要观察误码率是否恢复正常，并在系统中登记备件的序列号。维护人员应当在二十四小时内复查一次链路状态。\n"
    )
    for quality in ("documents", "web"):
        rows = [
            {"text": text + "\n运维手册规定了巡检的周期和责任人。每次巡检都要留下记录，以便以后查找问题的原因。"}
        ]
        curated = Curated(tmp_path / quality, {"a.jsonl": rows}, quality=quality, heldout_fraction=0)
        assert curated.dropped == {}
        assert curated.result["languages"] == {"zh": 1}


def test_bad_answers_go(tmp_path: Path) -> None:
    rows = [
        chat("Why is it slow today?", "Why is it slow today?"),
        chat("And now?", "..."),
        chat("Tell me more.", "the same thing again and again, " * 60),
        chat("Is it fixed?", "Yes."),
    ]
    curated = Curated(tmp_path, {"a.jsonl": rows}, heldout_fraction=0)
    assert questions(curated.train) == ["Is it fixed?"]
    assert curated.dropped == {"chat.repeats_question": 1, "chat.no_words": 1, "chat.endless": 1}


def test_only_the_wanted_languages_and_what_cannot_be_told(tmp_path: Path) -> None:
    rows = [
        chat("Wie kann ich das Passwort zurücksetzen?", "Klicken Sie oben rechts oder fragen Sie hans@firma.de."),
        chat("How can I reset the password of this machine?", "Press the button at the top right of the page."),
        chat("怎样重置密码？", "点击右上角的按钮。"),
        chat("ok?", "ok"),
    ]
    curated = Curated(tmp_path, {"a.jsonl": rows}, languages=("en", "zh"), heldout_fraction=0)
    assert curated.dropped == {"language.de": 1}
    assert "<EMAIL>" in curated.samples[0]["sample"]
    assert curated.result["languages"] == {"de": 1, "en": 1, "zh": 1, "und": 1}


def test_personal_data_is_masked_and_counted(tmp_path: Path) -> None:
    rows = [chat("Who is on call?", "Ms Li, li.na@corp.cn or 13812345678."), chat("And the host?", "10.0.0.7")]
    curated = Curated(tmp_path / "m", {"a.jsonl": rows}, heldout_fraction=0)
    assert curated.train[0]["messages"][1]["content"] == "Ms Li, <EMAIL> or <PHONE>."
    assert curated.result["masked"] == {"email": 1, "phone": 1}
    assert curated.result["masked_records"] == 1
    bare = Curated(tmp_path / "b", {"a.jsonl": rows}, heldout_fraction=0, mask_pii=False)
    assert "13812345678" in bare.train[0]["messages"][1]["content"]


def test_held_out_share_follows_the_content_not_the_order(tmp_path: Path) -> None:
    rows = [chat(f"What is item {n}?", f"It is thing {n}.") for n in range(300)]
    one = Curated(tmp_path / "1", {"a.jsonl": rows}, heldout_fraction=0.2)
    two = Curated(tmp_path / "2", {"a.jsonl": rows[150:], "b.jsonl": rows[:150]}, heldout_fraction=0.2)
    assert sorted(questions(one.heldout)) == sorted(questions(two.heldout))
    assert one.result["digest"] == two.result["digest"]
    assert 30 <= len(one.heldout) <= 90
    assert len(one.train) + len(one.heldout) == 300


def test_two_answers_to_one_question_are_on_one_side(tmp_path: Path) -> None:
    rows = [chat(f"Question number {n}?", answer) for n in range(60) for answer in ("Yes.", "No.")]
    curated = Curated(tmp_path, {"a.jsonl": rows}, heldout_fraction=0.3)
    assert set(questions(curated.train)).isdisjoint(questions(curated.heldout))


def test_little_data_gives_one_held_out_record(tmp_path: Path) -> None:
    rows = [chat("One?", "1"), chat("Two?", "2")]
    curated = Curated(tmp_path / "2", {"a.jsonl": rows})
    assert (len(curated.train), len(curated.heldout)) == (1, 1)
    with pytest.raises(BadInput, match="nothing can be held out to evaluate on: one prompt is left of 1 record"):
        Curated(tmp_path / "1", {"a.jsonl": rows[:1]})


def test_nothing_left_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"of 3 records 3 were dropped: gopher_quality.short_doc 3 \(a.jsonl:1\)"):
        Curated(tmp_path, {"a.jsonl": [{"text": word} for word in ("one", "two", "three")]})


@pytest.mark.parametrize("fraction", [-0.1, 1, 5])
def test_an_impossible_share_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(BadInput, match="give 0 or more and less than 1"):
        Curated(tmp_path, {"a.jsonl": [chat("a", "b")]}, heldout_fraction=fraction)


def test_processes_change_nothing(tmp_path: Path) -> None:
    rows = [{"text": essay(n % 60, 700)} for n in range(300)]
    one, two = (Curated(tmp_path / str(n), {"a.jsonl": rows}, identify_language=False, workers=n) for n in (1, 2))
    assert one.train == two.train
    assert one.samples == two.samples
    assert {**one.result, "documents_per_s": 0} == {**two.result, "documents_per_s": 0}
    assert one.dropped == {"exact_duplicate": 240}


def test_the_example_data_survives_as_processes(tmp_path: Path) -> None:
    """The two recipes as the platform starts them; every phrasing of the example is wanted."""
    example = REPOSITORY / "examples" / "gpu-ops"
    probes = tmp_path / "probe"
    for name, data in (("import_data", example), ("curate", tmp_path / "import_data")):
        spec = tmp_path / f"{name}.json"
        spec.write_text(json.dumps({"inputs": {"data": str(data)}, "output": str(tmp_path / name)}))
        command = [sys.executable, "-m", f"stoker.recipes.{name}", str(spec)]
        subprocess.run(command, check=True, env={"STOKER_PROBE": str(probes)})
    result = json.loads((tmp_path / "curate/result.json").read_text())
    rows = sum(len(path.read_text().splitlines()) for path in example.glob("*.jsonl"))
    assert (result["input"], result["kept"], result["masked"]) == (rows, rows, {})
    last = [json.loads(line) for line in probes.read_text().splitlines() if '"progress"' in line][-1]
    assert (last["step"], last["total"], last["values"]["kept"]) == (rows, rows, rows)
