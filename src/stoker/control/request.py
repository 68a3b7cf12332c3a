"""Reading a request to ship: everything that can be refused is refused here, before anything is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from stoker.account import Account
from stoker.cluster import Node
from stoker.engine_config import LOCAL
from stoker.errors import BadInput, Conflict, MissingExtra, NotFound, near
from stoker.home import Home
from stoker.perf import memory
from stoker.ship.chain import HUB, steps_of
from stoker.shipment import ShipmentRequest, Source, Stage
from stoker.sources.basemodel import architecture
from stoker.sources.catalogue import on_hub, resolve
from stoker.sources.recipe_settings import settings_of
from stoker.store.artifacts import Artifacts
from stoker.store.registry import Registry
from stoker.typed import dump

METHODS = ("lora", "full", "ptuning", "bottleneck", "ia3")


class RequestReader:
    def __init__(
        self,
        registry: Registry,
        artifacts: Artifacts,
        home: Home,
        largest_node: Callable[[str], Node | None],
        file_path: Callable[[str, Account], Path],
    ) -> None:
        """`file_path` tells where an uploaded file lies."""
        self._largest_node = largest_node
        self._registry = registry
        self._artifacts = artifacts
        self._home = home
        self._file_path = file_path

    def read(self, request: ShipmentRequest, who: Account) -> tuple[ShipmentRequest, dict[str, Source], str]:
        """The request as it is carried out, its sources, and a digest of both that tells equal requests.

        Reads all data once. Raises BadInput, NotFound (with near names), Conflict.
        """
        named = on_hub(request.base, self._home.path)
        if named:
            request = replace(request, base=f"{HUB}{named}")
        _check_extras(request)
        _check_name(request.name)
        _check_settings(request)
        self._check_owner(request.name, who)
        sources = self.sources(request, who)
        if "base" in sources:
            self._check_memory(request, Path(sources["base"].path))
        return request, sources, _digest(request, sources)

    def sources(self, request: ShipmentRequest, who: Account) -> dict[str, Source]:
        """What of the user's the stages read, with the digest of what lies there now."""
        paths = {"data": self._data_path(request.data, who)}
        if not request.base.startswith(HUB):
            paths["base"] = resolve(request.base, self._home.path).path
        if request.heldout:
            paths["heldout"] = self._data_path(request.heldout, who)
        return {name: Source(str(path), self._artifacts.digest(path)) for name, path in paths.items()}

    def _data_path(self, given: str, who: Account) -> Path:
        if given.startswith("file-") and "/" not in given:
            return self._file_path(given, who)
        path = Path(given)
        if not path.is_absolute() or "\x00" in given:
            raise BadInput(f"data {given!r} must be an absolute path on the server or a file id", param="data")
        try:
            _check_readable(path)
        except OSError as error:
            raise BadInput(f"cannot read {str(path)[:200]}: {error.strerror}", param="data") from None
        return path

    def _check_memory(self, request: ShipmentRequest, base: Path) -> None:
        """Refuses what could never be trained here: the least that the training needs, against all there is.

        The training itself looks again, at what is free then.
        """
        node = self._largest_node(request.engine)
        if node is None:
            return
        settings = request.settings.get(Stage.TRAIN, {})
        model = architecture(base)
        rank = settings.get("lora_rank")
        least = memory.training(
            model,
            trainable=memory.adapter_parameters(
                model, request.method, rank=rank if isinstance(rank, int) else 1, size=1, tokens=1
            ),
            full=request.method == "full",
            row_tokens=1,
            predictions=1,
            bytes_per_value=2,
            checkpointing=True,
        )
        device = max((device.memory for device in node.devices), default=0)
        advice = "take a smaller base model, an adapter instead of full training, or a larger machine"
        memory.check_fits(least, device or node.memory, advice=advice)

    def _check_owner(self, name: str, who: Account) -> None:
        if self._registry.owner(name) not in (None, who.tenant):
            raise Conflict(f'the model name "{name}" is taken by another tenant; choose another name')


def _check_extras(request: ShipmentRequest) -> None:
    """The recipes' heavy libraries, looked for without loading them: jobs here run with this very interpreter."""
    if request.engine not in ("", LOCAL):
        return
    wanted = {"data": "numpy", "train": "torch", **({"serve": "xllamacpp"} if request.deploy else {})}
    missing = [extra for extra, library in wanted.items() if find_spec(library) is None]
    if missing:
        raise MissingExtra("shipping a model", ",".join(missing))


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise NotFound(f"there is nothing at {path}")
    if path.is_dir():
        if not any(path.iterdir()):
            raise BadInput(f"{path} is an empty folder; put .jsonl, .csv, .parquet, .txt, .md or .html in it")
    elif not path.is_file():  # a pipe or a device: reading it may never end
        raise BadInput(f"{path} is neither a file nor a folder", param="data")


def _check_name(name: str) -> None:
    if not name.strip(".") or len(name) > 100 or not all(char.isalnum() or char in "-_." for char in name):
        raise BadInput(
            f"{name!r} is no model name: 1 to 100 letters, digits, dots, dashes and underscores, not dots alone",
            param="name",
        )


def _check_settings(request: ShipmentRequest) -> None:
    if request.method not in METHODS:
        raise BadInput(f'method "{request.method}" was given; allowed: {", ".join(METHODS)}', param="method")
    recipes = {step.stage.value: step.recipe for step in steps_of(request) if step.recipe}
    for stage in (*request.settings, *request.resources):
        if stage not in recipes:
            raise BadInput(f'no stage "{stage}" has settings{near(stage, recipes)}', param="settings")
    for stage, settings in request.settings.items():
        known = settings_of(recipes[stage])
        for name in settings:
            if name not in known:
                raise BadInput(f'stage {stage} has no setting "{name}"{near(name, known)}', param="settings")
            _check_kind(f"{stage}.{name}", settings[name], known[name].kind)


# What plain types take, as far as it can be told without loading a recipe; recipes check everything themselves.
_PLAIN: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def _check_kind(setting: str, value: object, kind: str) -> None:
    allowed = _PLAIN.get(kind)
    if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool")):
        raise BadInput(f"{setting} is {value!r}; {_WORDS[kind]} is needed", param="settings")


def _digest(request: ShipmentRequest, sources: Mapping[str, Source]) -> str:
    text = json.dumps([dump(request), {name: one.digest for name, one in sources.items()}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
