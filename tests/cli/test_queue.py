"""``stoker queue`` against a real platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.cli import texts
from tests.api.platform import Site
from tests.cli.conftest import Stoker

FILE = """
queues:
  - name: speech
    tenants: [speech]
    deserved: 4
    ceiling: 6
    windows: [{when: Mon-Fri 20:00-08:00, deserved: 8, ceiling: 8}]
    timezone: Asia/Shanghai
  - {name: asr, parent: speech, deserved_of: {H100: 2}, patience: 12h, half_life: 1d, user_jobs: 3}
"""


@pytest.fixture(autouse=True)
def no_queues(stoker: Stoker) -> None:
    for name in ("asr", "speech", "a"):
        stoker("queue", "remove", name)


def test_a_queue_is_added_changed_shown_and_removed(stoker: Stoker) -> None:
    assert "all jobs stand in one line" in stoker("queue", "list").out
    options = ("--deserved", "2", "--ceiling", "4", "--ceiling", "H100=3", "--patience", "12h")
    said = stoker("queue", "add", "a", *options, "--window", "Sat,Sun 00:00-24:00 ceiling=8")
    assert (said.code, said.out) == (0, "queue a added\n")
    assert stoker("queue", "set", "a", "--user-jobs", "3", "--ceiling", "none").code == 0
    queue = stoker("queue", "show", "a", "--json").json["queue"]
    assert (queue["deserved"], queue["ceiling"], queue["user_jobs"], queue["patience"]) == (2, None, 3, 43200)
    assert queue["ceiling_of"] == {"H100": 3}
    shown = stoker("queue", "show", "a").out
    assert "Sat,Sun 00:00-24:00: ceiling 8" in shown
    assert "0 of 8 devices of the pool" in shown
    assert stoker("queue", "set", "a", "--window", "").code == 0
    assert stoker("queue", "show", "a", "--json").json["queue"]["windows"] == []
    assert stoker("queue", "remove", "a").out == "queue a removed\n"


def test_a_file_of_queues_is_set_as_a_whole(stoker: Stoker, tmp_path: Path) -> None:
    file = tmp_path / "queues.yaml"
    file.write_text(FILE)
    said = stoker("queue", "apply", "-f", str(file))
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == ["QUEUE", "speech", "asr"]
    assert said.out.splitlines()[2].startswith("  asr")
    found = stoker("queue", "show", "asr", "--json").json["queue"]
    assert (found["deserved"], found["deserved_of"], found["half_life"]) == (2, {"H100": 2}, 86400)
    file.write_text(FILE.replace("deserved_of: {H100: 2}", "deserved: 9"))
    said = stoker("queue", "apply", "-f", str(file))
    assert (said.code, "raise its deserved to 9" in said.err) == (2, True)
    assert stoker("queue", "show", "asr", "--json").json["queue"]["deserved"] == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "a/b"), "is no name of a queue"),
        (("add", "a", "--window", "nightly"), 'window "nightly" was given; write for example Mon-Fri 20:00-08:00'),
        (("add", "a", "--deserved", "4", "--ceiling", "2"), "a ceiling of 2 is below the 4 deserved"),
        (("add", "a", "--deserved", "many"), "deserved"),
        (("add", "a", "--preemptible", "maybe"), "preemptible"),
        (("add", "a", "--timezone", "Mars"), 'timezone "Mars" is unknown'),
        (("set", "none-such", "--deserved", "4"), 'no queue "none-such"'),
        (("set", "a"), "nothing to change"),
        (("apply", "-f", "/none-such"), "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(stoker: Stoker, words: tuple[str, ...], told: str) -> None:
    said = stoker("queue", *words)
    assert said.code != 0
    assert told in said.err
    assert said.err.count("\n") == 1


def test_a_user_sees_and_cannot_change(
    stoker: Stoker, alone: Stoker, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stoker("queue", "add", "speech", "--tenant", "speech", "--deserved", "4")
    stoker("queue", "add", "a", "--tenant", "vision")
    monkeypatch.setenv("STOKER_API_KEY", site.key("sam"))
    assert [line.split()[0] for line in alone("queue", "list").out.splitlines()] == ["QUEUE", "speech"]
    said = alone("queue", "set", "speech", "--deserved", "8")
    assert "admin is needed to change queues" in said.err
    said = alone("run", "-p", "a", "--", "true")
    assert 'no queue "a"' in said.err
    said = alone("run", "--deadline", "in 1h", "--time", "2h", "--", "true")
    assert 'job "true" cannot keep its deadline' in said.err
    assert said.err.endswith("the job may take 2 h\n")


def test_reports_are_chinese_where_asked(stoker: Stoker) -> None:
    stoker("queue", "add", "a", "--deserved", "2")
    shown = stoker("--lang", "zh", "queue", "show", "a").out
    texts.use("en")
    assert "应得配额" in shown
