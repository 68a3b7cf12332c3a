"""A tiny base model, a dataset, and `train` as a job runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.recipes.tiny_models import make_model, make_tokenizer, save_base

FAST = {"epochs": 2, "batch": 4, "row_tokens": 96, "learning_rate": 0.01, "threads": 1, "checkpoint_every": 2}
_PAIRS = [
    ("what does the link do", "the link is down"),
    ("why is the gpu hot", "the fan is off"),
    ("is the node up", "restart the node"),
    ("which rail is slow", "rail 3"),
    ("list all jobs", "no jobs"),
    ("显卡温度", "风扇停了"),
    ("what now", "restart the node and list all jobs"),
    ("is a rail down", "a rail is down"),
]


def make_base(folder: Path, family: str = "llama") -> Path:
    tokenizer = make_tokenizer()
    return save_base(folder, make_model(family, len(tokenizer), initializer_range=0.05), tokenizer)


def make_chat(folder: Path, pairs: Sequence[tuple[str, str]] = _PAIRS) -> Path:
    """A dataset artifact as curate leaves it."""
    lines = [
        {
            "id": f"r{number}",
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        }
        for number, (question, answer) in enumerate(pairs)
    ]
    return _write(folder, "chat", lines, lines[:4])


def make_text(folder: Path) -> Path:
    lines = [
        {"id": f"t{number}", "text": f"{question} {answer} " * 6}
        for number, (question, answer) in enumerate(_PAIRS)
    ]
    return _write(folder, "text", lines, lines[:2])


def _write(folder: Path, kind: str, train: list[Any], heldout: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("train", train), ("heldout", heldout)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "result.json").write_text(json.dumps({"kind": kind}))
    return folder


def write_spec(folder: Path, name: str, config: dict[str, Any], **inputs: Path) -> Path:
    """The spec of recipe `name`, whose output is ``folder/NAME`` and whose scratch outlives a killed attempt."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / f"{name}.json"
    given = {key: str(path) for key, path in inputs.items()}
    scratch = str(folder / f"{name}-scratch")
    spec.write_text(
        json.dumps({"config": config, "inputs": given, "output": str(folder / name), "scratch": scratch})
    )
    return spec


def start(name: str, spec: Path, *, ranks: int = 1, **environment: str) -> subprocess.Popen[str]:
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={ranks}"]
        if ranks > 1
        else []
    )
    command = [sys.executable, *launcher, "-m", f"stoker.recipes.{name}", str(spec)]
    given = {**os.environ, "OMP_NUM_THREADS": "1", "STOKER_PROBE": str(spec.with_suffix(".probe")), **environment}
    return subprocess.Popen(command, env=given, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def run(
    name: str, folder: Path, config: dict[str, Any], *, ranks: int = 1, limit: float = 240, **inputs: Path
) -> dict[str, Any]:
    """The recipe's result; fails with its stderr."""
    spec = write_spec(folder, name, config, **inputs)
    with start(name, spec, ranks=ranks) as process:
        _, errors = process.communicate(timeout=limit)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads((folder / name / "result.json").read_text())
    return result


def reports(folder: Path, name: str) -> list[dict[str, Any]]:
    """What the recipe said through the probe."""
    return [json.loads(line) for line in (folder / f"{name}.probe").read_text().splitlines()]
