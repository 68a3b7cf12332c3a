"""What is refused before anything is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.account import Account
from stoker.app import App
from stoker.errors import BadInput, MissingExtra, NotFound, StokerError, Unfit
from stoker.shipment import ShipmentRequest

LLAMA_405B = {
    "model_type": "llama", "num_hidden_layers": 126, "hidden_size": 16384, "num_attention_heads": 128,
    "num_key_value_heads": 8, "intermediate_size": 53248, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    opened = App.open(tmp_path_factory.mktemp("platform") / "home")
    yield opened
    opened.stop()


@pytest.fixture(scope="module")
def who(app: App) -> Account:
    secret = app.accounts.bootstrap()
    assert secret is not None
    return app.accounts.authenticate(secret)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_base(tmp_path / "base", LLAMA_405B)


def save_base(folder: Path, config: dict[str, object]) -> Path:
    """A model folder whose weights are told but not held: it is refused before they would be read."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_base_that_can_never_fit_is_refused_with_the_arithmetic(
    app: App, who: Account, data: Path, base: Path
) -> None:
    with pytest.raises(Unfit, match=r"weights .* GiB \+ gradients .* are free"):
        app.shipments.create(ShipmentRequest(data=str(data), base=str(base), name="big"), who)
    assert app.shipments.find(who) == []


Change = Callable[[Path], dict[str, object]]


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda _: {"data": "relative"}, BadInput, "absolute path"),
        (lambda _: {"data": "/nowhere/at/all"}, NotFound, "nothing at /nowhere"),
        (lambda _: {"data": "file-123"}, NotFound, "file-123"),
        (lambda tmp: {"data": str(empty(tmp))}, BadInput, "empty folder"),
        (lambda _: {"base": "smollm3"}, NotFound, "no base model"),
        (lambda _: {"base": "acme/tiny"}, NotFound, "no hub"),
        (lambda _: {"name": "a/b"}, BadInput, "no model name"),
        (lambda _: {"name": "it's"}, BadInput, "no model name"),
        (lambda _: {"name": ".."}, BadInput, "not dots alone"),
        (lambda _: {"data": "/" + "a" * 5000}, BadInput, "name too long"),
        (lambda _: {"data": "/dev/zero"}, BadInput, "neither a file nor a folder"),
        (lambda _: {"base": "/" + "a" * 5000}, BadInput, "name too long"),
        (lambda _: {"base": "a/" + "a" * 5000}, BadInput, "name too long"),
        (lambda _: {"base": "~nobody-of-that-name/x"}, BadInput, "no base model can be"),
        (lambda _: {"base": "a\0/b"}, BadInput, "no base model can be"),
        (lambda _: {"method": "qlora"}, BadInput, "allowed: lora"),
        (lambda _: {"settings": {"train": {"epoch": 3}}}, BadInput, 'no setting "epoch"; near names: epochs'),
        (
            lambda _: {"settings": {"train": {"epochs": "many"}}},
            BadInput,
            "train.epochs is 'many'; a number is needed",
        ),
        (lambda _: {"settings": {"train": {"batch": 1.5}}}, BadInput, "a whole number is needed"),
        (lambda _: {"settings": {"train": {"batch": True}}}, BadInput, "a whole number is needed"),
        (lambda _: {"settings": {"trian": {}}}, BadInput, "near names: train"),
        (lambda _: {"settings": {"register": {}}}, BadInput, "no stage"),
    ],
)
def test_bad_requests_get_one_line(
    app: App,
    who: Account,
    data: Path,
    base: Path,
    tmp_path: Path,
    change: Change,
    error: type[StokerError],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    fields = {"data": str(data), "base": str(base), "name": "ok", **change(tmp_path)}
    with pytest.raises(error) as caught:
        app.shipments.create(ShipmentRequest(**fields), who)  # type: ignore[arg-type]
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert app.shipments.find(who) == []


def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_missing_extras_are_named_before_anything_is_made(
    app: App, who: Account, data: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker.control.request.find_spec", lambda name: None if name != "torch" else object())
    with pytest.raises(MissingExtra, match=r"pip install 'stoker\[data,serve\]'"):
        app.shipments.create(ShipmentRequest(data=str(data), base=str(base), name="ok"), who)
