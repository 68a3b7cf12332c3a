"""Importing good data: every form and format becomes the same records, and what is rejected is counted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipes import import_data
from stoker.recipes.curation.intake import ImportConfig
from stoker.recipes.curation.record import Rejected, checked_messages
from stoker.recipes.stage import Stage

ASKED, SAID = "What is Xid 79?", "The GPU fell off the bus."
CHAT = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}]
PAIR = {"prompt": ASKED, "completion": SAID}


def imported(data: Path, **config: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result and the records of an import of `data`."""
    output = data.parent / f"{data.name}-imported"
    output.mkdir()
    result = import_data.run(Stage(ImportConfig(**config), {"data": data}, output, output))
    return result, [json.loads(line) for line in (output / "records.jsonl").read_text().splitlines()]


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("messages", {"messages": CHAT}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": ASKED}]}, CHAT[1]]}),
        ("messages", {"messages": [*CHAT, {"role": "user", "content": "Thanks"}]}),
        ("conversations", {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": SAID}]}),
        ("prompt_completion", PAIR),
        ("prompt_completion", {"prompt": CHAT[:1], "completion": CHAT[1:]}),
        ("prompt_completion", {"question": PAIR["prompt"], "answer": PAIR["completion"], "topic": "xid"}),
        ("instruction", {"instruction": PAIR["prompt"], "input": "", "output": PAIR["completion"]}),
    ],
)  # fmt: skip
def test_every_chat_form_becomes_the_same_messages(tmp_path: Path, form: str, row: Mapping[str, Any]) -> None:
    write_lines(tmp_path / "data" / "a.jsonl", [row])
    result, records = imported(tmp_path / "data")
    assert (result["form"], result["kind"]) == (form, "chat")
    assert records[0]["messages"] == CHAT
    assert (records[0]["split"], records[0]["source"]) == ("train", "a.jsonl:1")


def test_instruction_with_input_and_system_message(tmp_path: Path) -> None:
    row = {"instruction": "Translate.", "input": "Guten Tag", "output": "Good day", "system": "Be brief."}
    _, records = imported(write_lines(tmp_path / "a.jsonl", [row]))
    assert [turn["role"] for turn in records[0]["messages"]] == ["system", "user", "assistant"]
    assert records[0]["messages"][1]["content"] == "Translate.\n\nGuten Tag"


def test_every_table_format_gives_the_same_dataset(tmp_path: Path) -> None:
    rows = [{"prompt": f'Say "{n}",\nplease', "completion": f"第{n}"} for n in range(30)]
    for name in ("jsonl", "json", "csv", "tsv", "parquet", "gz", "zst"):
        (tmp_path / name).mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "jsonl/a.jsonl").write_text("\ufeff" + lines)
    (tmp_path / "json/a.json").write_text(json.dumps(rows, indent=2))
    for suffix, delimiter in (("csv", ";"), ("tsv", "\t")):
        fields = "".join(f'"{r["prompt"]}"{delimiter}{r["completion"]}\r\n' for r in rows)
        escaped = (
            delimiter.join(["prompt", "completion"])
            + "\r\n"
            + fields.replace('Say "', 'Say ""').replace('",\n', '"",\n')
        )
        (tmp_path / suffix / f"a.{suffix}").write_bytes(escaped.encode())
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "parquet/a.parquet")
    (tmp_path / "gz/a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    with pyarrow.output_stream(str(tmp_path / "zst/a.jsonl.zst"), compression="zstd") as stream:
        stream.write(lines.encode())
    results = {
        name: imported(tmp_path / name)[0] for name in ("jsonl", "json", "csv", "tsv", "parquet", "gz", "zst")
    }
    assert {result["kept"] for result in results.values()} == {30}
    assert len({result["digest"] for result in results.values()}) == 1


def test_parquet_with_nested_messages(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": CHAT}] * 3), tmp_path / "a.parquet")
    result, records = imported(tmp_path / "a.parquet")
    assert result["kept"] == 3
    assert records[2]["messages"] == CHAT
    assert len({record["id"] for record in records}) == 3


def test_texts_of_a_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "手册").mkdir(parents=True)
    (data / "手册/光模块.md").write_text("# 光模块\n接收功率应高于 -10 dBm。")
    (data / "page.html").write_text(
        "<head><title>x</title><style>p{}</style></head><body><nav>Menu</nav><p>One  <b>two</b></p><p>three</body>"
    )
    (data / "notes.txt").write_text("plain")
    (data / ".hidden.txt").write_text("not this")
    (data / "logo.png").write_bytes(b"\x89PNG\0")
    result, records = imported(data)
    assert {record["source"]: record["text"] for record in records} == {
        "notes.txt": "plain",
        "page.html": "One two\n\nthree",
        "手册/光模块.md": "# 光模块\n接收功率应高于 -10 dBm。",
    }
    assert result["kind"] == "text"
    assert result["skipped_files"]["unknown suffix .png"]["count"] == 1


def test_held_out_files_are_known_by_their_names(tmp_path: Path) -> None:
    data = tmp_path / "data"
    names = {
        "train.jsonl": "train", "test.jsonl": "heldout", "my-dev.jsonl": "heldout", "held_out.jsonl": "heldout",
        "validation-00000-of-00002.jsonl": "heldout", "eval/part.jsonl": "heldout", "latest.jsonl": "train",
    }  # fmt: skip
    for name in names:
        write_lines(data / name, [PAIR])
    result, records = imported(data)
    assert {record["source"].split(":")[0]: record["split"] for record in records} == names
    assert result["heldout"] == 5


def test_a_text_about_a_test_is_no_held_out_data(tmp_path: Path) -> None:
    (tmp_path / "test plan.md").write_text("Plan of the test.")
    _, records = imported(tmp_path)
    assert records[0]["split"] == "train"


def test_a_readme_beside_the_data_is_not_data(tmp_path: Path) -> None:
    write_lines(tmp_path / "data" / "a.jsonl", [PAIR])
    (tmp_path / "data" / "README.md").write_text("About this dataset.")
    result, records = imported(tmp_path / "data")
    assert result["skipped_files"]["paper beside the data"]["examples"][0]["source"] == "README.md"
    assert len(records) == 1


def test_columns_named_by_the_user(tmp_path: Path) -> None:
    row = {"ticket": "It is hot", "reply": "Cool it", "text": "not this"}
    result, records = imported(
        write_lines(tmp_path / "a.jsonl", [row]), columns={"prompt": "ticket", "completion": "reply"}
    )
    assert result["form"] == "prompt_completion"
    assert records[0]["messages"][1]["content"] == "Cool it"


def test_an_upload_without_a_suffix_is_read_by_its_content(tmp_path: Path) -> None:
    assert imported(write_lines(tmp_path / "file-8f3a", [PAIR]))[0]["kept"] == 1


def test_the_digest_depends_on_content_alone(tmp_path: Path) -> None:
    rows = [{"prompt": str(n), "completion": "x"} for n in range(10)]
    write_lines(tmp_path / "one/a.jsonl", rows)
    write_lines(tmp_path / "two/x.jsonl", rows[7:])
    write_lines(tmp_path / "two/y.jsonl", rows[:7][::-1])
    write_lines(tmp_path / "three/a.jsonl", rows[:9])
    one, two, three = (imported(tmp_path / name)[0]["digest"] for name in ("one", "two", "three"))
    assert one == two != three


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])


@given(st.lists(st.fixed_dictionaries({"role": ROLES, "content": st.sampled_from(["", " ", "hello"])}), max_size=7))
def test_accepted_messages_fit_every_chat_template(messages: list[dict[str, str]]) -> None:
    try:
        turns = checked_messages(messages)
    except Rejected:
        return
    roles = [turn["role"] for turn in turns if turn["role"] != "system"]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    assert roles
    assert [turn["role"] for turn in turns[1:]].count("system") == 0
    assert all(turn["content"].strip() for turn in turns)
