"""A platform process to be killed: it submits jobs, and writes down each one that was acknowledged."""

from __future__ import annotations

import json
import os
import sys
import threading

from stoker.account import Account, Role
from stoker.app import App
from stoker.job import JobSpec

# Each job appends its attempt to a file of its own, so a second run shows.
_JOB = (
    "echo begin $STOKER_JOB_ID; echo $STOKER_ATTEMPT >> $RAN/$STOKER_JOB_ID; "
    'while [ -n "$GO" ] && [ ! -e "$GO" ]; do sleep 0.02; done; '
    "echo end $STOKER_JOB_ID; exit $((STOKER_JOB_ID % 200 + 1))"
)


def main(settings: dict[str, str]) -> None:
    print("born", flush=True)
    app = App.open(settings["home"], cpus=4)
    app.start()
    print("open", flush=True)
    who = Account("ak-test", "tester", Role.ADMIN, "default", 0.0)
    envs = {"RAN": settings["ran"], "GO": settings["go"]}
    spec = JobSpec(command=("sh", "-c", _JOB), envs=envs)
    for _ in range(2):
        jobs = app.jobs.submit([spec] * int(settings["jobs"]), who)
        told = os.open(settings["told"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(told, "".join(f"{job.id}\n" for job in jobs).encode())
        os.close(told)
    threading.Event().wait()


main(json.loads(sys.argv[1]))
