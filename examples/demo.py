"""The main job on this machine, end to end: start the platform, ship the example data, talk to the model.

`make demo` runs it. With a terminal the platform then stays up until Ctrl-C; without one it stops cleanly.
The state lies in build/demo: a second run finds everything done already. Remove the folder to start anew.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import stoker
from stoker.client import Client
from stoker.job import JobKind
from stoker.shipment import Shipment, ShipmentState, Stage

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "demo" / "home"
KEY = ROOT / "build" / "demo" / "key"  # mode 0600; the platform itself keeps only its hash
LOG = ROOT / "build" / "demo" / "platform.log"
DATA = ROOT / "examples" / "gpu-ops"
BASE = "smollm2-135m-instruct"
NAME = "gpu-ops"
SHOWN = 8  # answers

console = Console(width=None if sys.stdout.isatty() else 120)


def main() -> int:
    began = time.monotonic()
    HOME.parent.mkdir(parents=True, exist_ok=True)
    platform = start()
    try:
        client = Client(address(platform), key())
        console.print(f"[bold]Stoker is up[/bold] at {client.login.url}   log {LOG.relative_to(ROOT)}\n")
        shipment = ship(client)
        if shipment.state is not ShipmentState.SUCCEEDED:
            return 1
        show_answers(shipment)
        show_figures(shipment)
        show_endpoint(client, time.monotonic() - began)
        if sys.stdin.isatty() and sys.stdout.isatty():
            wait_for_interrupt()
        return 0
    finally:
        stop(platform)


def start() -> subprocess.Popen[bytes]:
    """`stoker up` in a session of its own, so that Ctrl-C reaches this script first."""
    command = [sys.executable, "-m", "stoker", "up", "--home", str(HOME), "--port", str(free_port(8700))]
    with LOG.open("wb") as log:
        LOG.chmod(0o600)
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment())


def environment() -> dict[str, str]:
    return {**os.environ, "STOKER_LANG": os.environ.get("STOKER_LANG", "en"), "XDG_CONFIG_HOME": str(HOME.parent)}


def free_port(wanted: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0  # taken: the system chooses
    return wanted


def address(platform: subprocess.Popen[bytes]) -> str:
    """Where it listens, once it says so."""
    while platform.poll() is None:
        if found := re.search(r"API\s+(http://\S+)/docs", LOG.read_text()):
            return found.group(1)
        time.sleep(0.05)
    sys.exit(f"the platform did not start: {LOG.read_text().strip()}")


def key() -> str:
    """The admin key: printed at the first start, kept beside the demo's home for the next."""
    if found := re.search(r"sk-stk-\S+", LOG.read_text()):
        KEY.touch(mode=0o600)
        KEY.write_text(found.group(0))
    if not KEY.exists():
        sys.exit(f"the key of an earlier demo is gone; remove {HOME.parent} and start again")
    return KEY.read_text()


def ship(client: Client) -> Shipment:
    """What a user types: `stoker ship DATA --base MODEL`."""
    words = ["ship", str(DATA), "--base", BASE, "--name", NAME]
    console.print(f"$ stoker {' '.join(words[:1])} {DATA.relative_to(ROOT)} {' '.join(words[2:])}", style="dim")
    keys = {"STOKER_URL": client.login.url, "STOKER_API_KEY": client.login.api_key}
    subprocess.run([sys.executable, "-m", "stoker", *words], env=environment() | keys, check=False)
    return client.shipments.list(limit=1)[0]


def show_answers(shipment: Shipment) -> None:
    """Unseen phrasings, answered by both models; what went wrong is shown too."""
    file = HOME / "artifacts" / shipment.stage(Stage.EVALUATE).key / "answers.jsonl"
    answers = [json.loads(line) for line in file.read_text().splitlines()]
    table = Table(title="Questions in words that training never saw", show_lines=True, expand=True)
    for title, ratio in (("question", 3), ("base model", 4), ("new model", 4)):
        table.add_column(title, ratio=ratio)
    table.add_column("right", width=5)
    for answer in answers[:: max(1, len(answers) // SHOWN)][:SHOWN]:
        right = answer["scores"]["new"] >= 1
        prompt = answer["prompt"] if isinstance(answer["prompt"], str) else answer["prompt"][-1]["content"]
        table.add_row(prompt, short(answer["base"]), short(answer["new"]), "yes" if right else "no")
    console.print(table)


def short(text: str, limit: int = 110) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def show_figures(shipment: Shipment) -> None:
    result = shipment.stage(Stage.EVALUATE).result
    train = shipment.stage(Stage.TRAIN).result
    metric = result.get("metric", "score")
    base, new = result["base"], result["new"]
    console.print(f"\n[bold]Evaluation[/bold] on {result['count']} held-out questions")
    console.print(f"  {metric:<14} base {base['score']:6.1%}   new {new['score']:6.1%}")
    console.print(f"  {'loss':<14} base {base['loss']:6.2f}   new {new['loss']:6.2f}")
    speed, expected = train.get("tokens_per_s"), train.get("expected_tokens_per_s")
    if speed and expected:
        console.print(f"  {'training':<14} {speed:,.0f} tokens/s, expected {expected:,.0f}: {speed / expected:.0%}")


def show_endpoint(client: Client, seconds: float) -> None:
    url = client.login.url
    body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "What does Xid 79 mean?"}]})
    console.print(f"\n[bold]Served[/bold] as {NAME} after {seconds:.0f} s. Ask it:\n")
    command = f"""  curl {url}/v1/chat/completions -H "Authorization: Bearer $(cat {KEY.relative_to(ROOT)})" \\
    -H 'Content-Type: application/json' -d '{body}'"""
    print(command)
    answer = client.chat(
        NAME, [{"role": "user", "content": "What does Xid 79 mean?"}], temperature=0, max_tokens=60
    )
    console.print(f"\n  → {answer.strip()}", markup=False)
    console.print(f"\n[bold]Console[/bold]  {url}   sign in with the key in {KEY.relative_to(ROOT)}")
    console.print(f"[bold]API[/bold]      {url}/docs")
    console.print(f"[bold]OpenAI[/bold]   base_url {url}/v1")


def wait_for_interrupt() -> None:
    console.print("\nCtrl-C stops everything.", style="dim")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("stopping", style="dim")


def stop(platform: subprocess.Popen[bytes]) -> None:
    """End what the demo started: jobs outlive the platform by design, so they are told first."""
    if platform.poll() is None:
        try:
            end_jobs(Client(address(platform), key()))
        except stoker.StokerError as error:
            console.print(f"could not end its jobs: {error}", style="yellow")
        platform.terminate()
        platform.wait(timeout=30)


def end_jobs(client: Client) -> None:
    for endpoint in client.endpoints.list():
        client.endpoints.stop(endpoint.name)
    for job in client.jobs.list(kind=JobKind.SERVICE, limit=100):
        if not job.state.final:
            client.jobs.cancel(job.id)
            client.jobs.wait(job.id, timeout=30)


if __name__ == "__main__":
    sys.exit(main())
