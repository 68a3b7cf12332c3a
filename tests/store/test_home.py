"""One process per home, and one schema per version."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from stoker import __version__
from stoker.app import App
from stoker.errors import BadInput, HomeBusy, HomeNewer
from stoker.home import Home
from stoker.store import migrations
from stoker.store.database import Database
from stoker.store.home import HomeLock, holder
from stoker.store.tables import metadata

_HOLD = """
import sys
from pathlib import Path
from stoker.home import Home
from stoker.store.home import HomeLock
lock = HomeLock(Home(Path(sys.argv[1])))
lock.tell(address="http://127.0.0.1:8700")
print("held", flush=True)
sys.stdin.read()
"""


def hold(home: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_holder_is_told_who_holds_the_home_and_a_kill_frees_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with hold(home.path) as process:
        with pytest.raises(HomeBusy) as error:
            HomeLock(home)
        host = os.uname().nodename
        assert str(error.value) == (
            f"{home.path} is held by process {process.pid} on {host}, http://127.0.0.1:8700;"
            " stop it or use another --home"
        )
        assert holder(home)["address"] == "http://127.0.0.1:8700"
        process.send_signal(signal.SIGKILL)
        process.wait()
        HomeLock(home).release()


def test_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    HomeLock(Home(tmp_path / "deep" / "home")).release()
    assert (tmp_path / "deep" / "home").stat().st_mode & 0o077 == 0


def test_a_home_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/home")):
        with pytest.raises(BadInput, match="give another --home"):
            HomeLock(Home(path))


def test_a_home_of_a_newer_version_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    app = App.open(tmp_path)
    with app.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE facts SET value = '7.1' WHERE name = 'written_by'"))
    app.stop()
    for _ in range(2):  # the refused one has let go of the home
        with pytest.raises(HomeNewer) as error:
            App.open(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} was written by version 7.1, this is {__version__}; upgrade Stoker or use another --home"
    )


def test_the_migrations_make_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_the_list_of_revisions_is_what_lies_in_the_folder() -> None:
    folder = Path(migrations.__file__).parent / "versions"
    assert tuple(sorted(path.name[:4] for path in folder.glob("[0-9]*.py"))) == migrations.REVISIONS


_WRITTEN_BY = "SELECT value FROM facts WHERE name = 'written_by'"


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        database = Database(f"sqlite:///{tmp_path}/test.db")
        database.migrate()
        with database.read() as connection:
            assert connection.execute(text(_WRITTEN_BY)).scalars().all() == [__version__]
        database.close()
