"""The frame every recipe runs in: read the spec, make the output whole or not at all, tell errors in one line.

A spec is JSON::

    {"config": {...}, "inputs": {"data": "/abs/dir", ...}, "output": "/abs/dir", "scratch": "/abs/dir"}

`output` appears in one rename when the recipe has succeeded, so whoever sees it sees all of it; a recipe whose
output is already there ends at once. `scratch` outlives a killed attempt: checkpoints go there. A service has
neither.

The spec's paths are the platform's, or URLs of a depot; `places` says where they lie on this node. Of several ranks
the first alone writes and speaks; the others tell nothing but what went wrong.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from stoker import probe
from stoker.depot import is_remote
from stoker.errors import BadInput, Broken, MissingExtra, StokerError
from stoker.recipes import cache, places
from stoker.recipes.shelf import Shelf
from stoker.typed import read

C = TypeVar("C")

RESULT = "result.json"
_NO_SCRATCH = ".scratch"
_SILENT = "STOKER_RANKS_PROBE"  # where a rank that is not the first tells its error
_EXTRA_OF = {
    "torch": "train", "transformers": "train", "tokenizers": "train", "peft": "train", "safetensors": "train",
    "huggingface_hub": "train", "gguf": "train", "xllamacpp": "serve",
    "pyarrow": "data", "rensa": "data", "py3langid": "data", "numpy": "data",
}  # fmt: skip


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One run of a recipe."""

    config: C
    inputs: Mapping[str, Path]  # name -> finished artifact folder (or the user's own data)
    output: Path  # write here; it is moved to its final name when `run` returns
    scratch: Path  # kept between attempts of the same work
    locations: Mapping[str, str] = field(default_factory=dict)  # what the platform knows the inputs by
    shelf: Shelf | None = None  # what of the scratch must outlive this node
    sent: bool = False  # the output goes to a depot, which follows links


@dataclass(frozen=True)
class _Spec:
    output: str = ""  # empty: a service, which leaves nothing
    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    scratch: str = ""


def main(config_type: type[C], run: Callable[[Stage[C]], Mapping[str, Any]]) -> NoReturn:
    """Run the recipe named by ``sys.argv[1]`` and exit: 0 done, 2 the input is at fault, 1 anything else."""
    signal.signal(signal.SIGTERM, _end_politely)
    if _rank():
        os.environ[_SILENT] = os.environ.pop("STOKER_PROBE", "")
    _take_service_key()
    try:
        _run(config_type, run, places.brought(sys.argv[1]))
    except StokerError as error:
        _fail(str(error), error.exit_code, error.param)
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        _fail(str(MissingExtra(Path(sys.argv[0]).stem, extra)), 2)
    except MemoryError:
        _fail("out of memory; give the job more memory or make batch and model smaller", 1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail(
            f"no space left on device while writing {error.filename or 'the output'}; free some and run again",
            1,
        )
    sys.exit(0)


def _run(config_type: type[C], run: Callable[[Stage[C]], Mapping[str, Any]], path: Path) -> None:
    try:
        spec = read(_Spec, json.loads(path.read_text()), what=str(path))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the spec {path}: {error}") from None
    config = read(config_type, spec.config, what="config")
    sent = is_remote(spec.output)
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if spec.output and alone and _done(spec.output):  # of several ranks each would have to see the same
        return
    inputs = {name: places.fetch(location) for name, location in spec.inputs.items()}
    if not spec.output:
        run(Stage(config, inputs, Path(), Path.cwd(), spec.inputs))
        return
    if _rank():
        with tempfile.TemporaryDirectory() as nothing:
            shelf = _shelf(spec.scratch, Path(nothing))
            run(Stage(config, inputs, Path(nothing), shelf.here, spec.inputs, shelf, sent))
        return
    final = cache.folder("work") / cache.name_of(spec.output) if sent else places.fetch(spec.output)
    _sweep(final)
    with _half_made(final) as partial:
        shelf = _shelf(spec.scratch, partial)
        _write_result(partial, run(Stage(config, inputs, partial, shelf.here, spec.inputs, shelf, sent)))
        if sent:
            places.depot().put(partial, spec.output)
            cache.keep(partial, spec.output)
            shelf.clear()
        else:
            _finish(partial, final)


def _done(output: str) -> bool:
    if is_remote(output):
        return places.depot().result(output) is not None
    return (places.fetch(output) / RESULT).exists()


def _shelf(scratch: str, partial: Path) -> Shelf:
    """Where work in progress lies on this node; without a scratch in the half-made output, and as long as that."""
    if is_remote(scratch):
        shelf = Shelf(cache.folder("scratch") / cache.name_of(scratch), places.depot(), scratch)
    else:
        shelf = Shelf(places.fetch(scratch) if scratch else partial / _NO_SCRATCH, lasts=bool(scratch))
    shelf.here.mkdir(parents=True, exist_ok=True)
    return shelf


@contextmanager
def _half_made(final: Path) -> Iterator[Path]:
    """A folder beside `final` to write in, which is removed when something goes wrong."""
    partial = final.with_name(f"{final.name}.partial-{os.getpid()}@{socket.gethostname()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    holding = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(holding, fcntl.LOCK_SH)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(holding)


def _sweep(final: Path) -> None:
    """Remove what killed attempts at the same output left half-made; it may be as large as a model."""
    for partial in final.parent.glob(f"{final.name}.partial-*"):
        maker, _, host = partial.name.removeprefix(f"{final.name}.partial-").partition("@")
        alive = host == socket.gethostname() and Path("/proc", maker).exists()
        if not alive and not _held(partial):
            shutil.rmtree(partial, ignore_errors=True)


def _held(folder: Path) -> bool:
    """Whether somebody, maybe on another machine, is writing there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _write_result(partial: Path, result: Mapping[str, Any]) -> None:
    shutil.rmtree(partial / _NO_SCRATCH, ignore_errors=True)
    with (partial / RESULT).open("w") as file:
        json.dump(result, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _finish(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if not (final / RESULT).exists():
            raise Broken(f"{final} exists but is not finished; remove it and run again") from None
        shutil.rmtree(partial, ignore_errors=True)  # another attempt was faster, with the same content


def _take_service_key() -> None:
    """A service's key comes in a file: an environment is shown to everybody who may see the job."""
    file = os.environ.get("STOKER_SERVICE_KEY_FILE")
    if file:
        os.environ["STOKER_SERVICE_KEY"] = places.brought(file).read_text().strip()


def _end_politely(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)  # unwinds, so the half-made output is removed


def _rank() -> int:
    """By torchrun; 0 without it."""
    return int(os.environ.get("RANK", "0"))


def _fail(message: str, code: int, param: str | None = None) -> NoReturn:
    if told := os.environ.get(_SILENT):
        os.environ["STOKER_PROBE"] = told
    probe.error(message, param=param)
    print(f"stoker: {message}", file=sys.stderr, flush=True)
    sys.exit(code)
