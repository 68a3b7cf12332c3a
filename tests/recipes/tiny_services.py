"""Run recipes as jobs do, and services until they are ready."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "sk-test"


def run_recipe(name: str, folder: Path, config: dict[str, Any], **inputs: Path) -> subprocess.CompletedProcess[str]:
    """Run recipe `name` as a job would; its output is ``folder/NAME``."""
    spec = _write_spec(name, folder, config, inputs)
    command = [sys.executable, "-m", f"stoker.recipes.{name}", str(spec)]
    return subprocess.run(command, env={**os.environ, "STOKER_SERVICE_KEY": KEY}, text=True, capture_output=True)


@contextmanager
def serving(name: str, folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """The URL of a running service recipe."""
    process, reports = start_service(name, folder, config)
    try:
        yield wait_ready(process, reports)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def start_service(name: str, folder: Path, config: dict[str, Any]) -> tuple[subprocess.Popen[str], Path]:
    spec = _write_spec(name, folder, config, {})
    reports = folder / f"{name}.probe.jsonl"
    reports.unlink(missing_ok=True)
    environment = {**os.environ, "STOKER_SERVICE_KEY": KEY, "STOKER_PROBE": str(reports)}
    with (folder / f"{name}.log").open("w") as log:
        command = [sys.executable, "-m", f"stoker.recipes.{name}", str(spec)]
        return subprocess.Popen(command, env=environment, stderr=log, text=True), reports


def wait_ready(process: subprocess.Popen[str], reports: Path) -> str:
    while process.poll() is None:
        for line in reports.read_text().splitlines() if reports.exists() else []:
            if (report := json.loads(line))["kind"] == "ready":
                return str(report["url"])
        time.sleep(0.02)
    raise AssertionError(f"the service ended with {process.returncode}: {reports.read_text()}")


def _write_spec(name: str, folder: Path, config: dict[str, Any], inputs: dict[str, Path]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / f"{name}.json"
    given = {key: str(path) for key, path in inputs.items()}
    spec.write_text(json.dumps({"config": config, "inputs": given, "output": str(folder / name)}))
    return spec
