"""From data to an answer, typed as a user would type it. The base is a random model of two layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.platform import Site
from tests.cli.conftest import Stoker

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("xllamacpp")


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.recipes.tiny_models import make_model, make_tokenizer, save_base

    tokenizer = make_tokenizer()
    return save_base(tmp_path_factory.mktemp("base"), make_model("llama", len(tokenizer)), tokenizer)


def write_data(folder: Path) -> None:
    folder.mkdir()
    for split, words in (("train", "What is"), ("heldout", "Tell me of")):
        lines = [
            {"prompt": f"{words} rail {n}?", "completion": f"Rail {n} ends at node {n + 7}."} for n in range(16)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def test_ship_chat_promote_and_back(stoker: Stoker, site: Site, tmp_path: Path, tiny_base: Path) -> None:
    write_data(tmp_path / "rails")
    ship = ("ship", "rails", "--base", str(tiny_base), "--set", "evaluate.count=8", "--set", "evaluate.probes=4")
    said = stoker(*ship, "--set", "train.epochs=1")
    assert said.code == 0, said.out + said.err
    stages = [line.split()[0] for line in said.out.splitlines() if line.startswith(" ") and line[1] != " "]
    order = ["import", "curate", "train", "evaluate", "export", "register", "deploy", "verify", "promote"]
    assert sorted(set(stages), key=order.index) == order
    assert 'now serving as "rails"' in said.out

    again = stoker(*ship, "--set", "train.epochs=1")
    assert again.out.count("was there already") >= 5
    assert stoker("chat", "rails", "What is rail 3?", "--max-tokens", "4", "--temperature", "0").code == 0
    assert "1/1" in stoker("endpoints", "list").out
    assert "http://127.0.0.1" in stoker("endpoints", "show", "rails").out

    assert stoker(*ship, "--set", "train.epochs=2", "--no-promote").code == 0
    versions = stoker("models", "show", "rails", "--json").json
    assert [one["version"] for one in versions] == [2, 1]
    assert versions[1]["aliases"] == ["champion"]
    compared = stoker("models", "compare", "rails", "1", "2")
    assert compared.out.splitlines()[0].split() == ["rails", "1", "rails", "2"]
    assert any(line.startswith("epochs") for line in compared.out.splitlines())
    assert "version 2 is champion now, before: version 1" in stoker("models", "promote", "rails", "2").out
    assert "version 1 is champion now" in stoker("models", "rollback", "rails").out
    journal = [line.split()[3:6] for line in stoker("models", "journal", "rails").out.splitlines()[1:]]
    assert [action for action, *_ in journal] == ["rollback", "promote", "promote"]
    assert stoker("models", "list", "--json").json[0]["champion"] == 1

    assert "does not answer any more" in stoker("endpoints", "stop", "rails").out
    assert stoker("chat", "rails", "hello").code in (2, 3)  # gone, or still being taken down


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models", "show", "nothing"], "nothing"),
        (["models", "promote", "nothing", "1"], "nothing"),
        (["models", "compare", "rails", "1"], "two versions or more"),
        (["endpoints", "show", "nothing"], "nothing"),
        (["endpoints", "deploy", "nothing", "1"], "nothing"),
        (["chat", "nothing", "hello"], "nothing"),
    ],
)
def test_what_is_not_there_is_one_line(stoker: Stoker, arguments: list[str], says: str) -> None:
    said = stoker(*arguments)
    assert says in said.err
    assert (said.code, said.out.strip(), said.err.count("\n")) == (2, "", 1)
