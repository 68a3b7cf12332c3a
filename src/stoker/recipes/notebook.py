"""JupyterLab as a job: behind the platform's gateway, and at its end by itself when nobody uses it.

It serves below ``/notebooks/<job>/`` on a free port of the address that the engine gives (``STOKER_BIND``), and
tells where through the probe. What it must not show comes as files in ``STOKER_FILES``: ``token`` (what the gateway
shows to it), ``key`` (the kernel's own key for the platform, if it gets one), ``environment.json`` (variables).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

from stoker import probe
from stoker.errors import MissingExtra
from stoker.recipes.listen import bind_address
from stoker.recipes.notebook_use import Look, Use, last_use, touches
from stoker.units import format_duration

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from stoker.recipes.notebook_kernels import WatchedKernels

_LONGEST_LOOK_S = 30.0
_TELL_S = 60.0  # how often the last use is told to the platform, at most
# Found by itself only where its configuration lies beside this interpreter.
_TERMINALS = (
    "--ServerApp.jpserver_extensions=jupyterlab=True",
    "--ServerApp.jpserver_extensions=jupyter_server_terminals=True",
)
# Closed networks have no news and no updates, and a job installs nothing by itself.
_QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
_NEWS = "@jupyterlab/apputils-extension:announcements"
_HUB = "--ServerApp.jpserver_extensions=jupyterhub.singleuser.extension=True"


def main() -> NoReturn:
    """Serve until nobody uses it any more, SIGTERM, or the server is shut down from within."""
    options = _options()
    files = Path(os.environ.get("STOKER_FILES", ""))
    try:
        _enter(files)
        server = _make_server(options)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("jupyterlab", "jupyter_server", "jupyterhub"):
            raise
        missing = MissingExtra("a notebook", "notebook" if error.name != "jupyterhub" else "jupyterhub")
        probe.error(str(missing))
        print(f"stoker: {missing}", file=sys.stderr)
        sys.exit(2)
    watch = Watch(server, options.idle)
    server.io_loop.add_callback(_begin, server, watch)
    try:
        server.start()
    finally:
        shutil.rmtree(os.environ["JUPYTER_RUNTIME_DIR"], ignore_errors=True)
    probe.end(watch.last_word or "shut down from within")
    sys.exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stoker.recipes.notebook", description="JupyterLab as a job.")
    parser.add_argument("--idle", type=float, default=0.0, help="ends after so many seconds without use; 0: never")
    parser.add_argument("--folder", default="", help="folder it opens; else the home folder")
    parser.add_argument("--hub", action="store_true", help="as the single-user server of a JupyterHub")
    return parser.parse_args()


def _enter(files: Path) -> None:
    """Take the secrets from their files, and keep Jupyter's own files of this run apart from those of others."""
    if (secret := files / "environment.json").is_file():
        os.environ.update(json.loads(secret.read_text()))
    if (token := files / "token").is_file():
        os.environ["JUPYTER_TOKEN_FILE"] = str(token)
    if (key := files / "key").is_file():
        os.environ["STOKER_KEY_FILE"] = str(key)
    for name in ("JUPYTER_TOKEN", "STOKER_API_KEY"):
        os.environ.pop(name, None)
    os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="stoker-notebook-")


def _make_server(options: argparse.Namespace) -> ServerApp:
    from stoker.recipes.notebook_kernels import WatchedKernels

    folder = Path(options.folder) if options.folder else Path.home()
    _keep_layout_of(folder)
    settings: dict[str, Any] = {
        "root_dir": str(folder),
        "kernel_manager_class": WatchedKernels,
        "open_browser": False,
        "allow_root": True,  # whether it may run as root is the engine's to say
        "quit_button": True,
    }
    made: ServerApp = _make_single_user_server(settings) if options.hub else _make_lab(settings)
    _ask_nothing(made)
    return made


def _keep_layout_of(folder: Path) -> None:
    """Open tabs belong to the folder that they are files of.

    Jupyter keeps one layout a person: a second notebook, in another folder, would open the first one's files, which
    it does not have, and each would write over the other's.
    """
    from jupyter_core.paths import jupyter_config_dir

    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    os.environ.setdefault(
        "JUPYTERLAB_WORKSPACES_DIR", str(Path(jupyter_config_dir(), "lab", "workspaces", f"stoker-{name}"))
    )


def _make_lab(settings: dict[str, Any]) -> ServerApp:
    from jupyterlab.labapp import LabApp

    settings |= {
        "base_url": f"/notebooks/{os.environ.get('STOKER_JOB_ID', '0')}/",
        "ip": bind_address(),
        "port": 0,
        "port_retries": 0,
        "allow_remote_access": True,  # the gateway passes on the name that the browser used, and asks for the token
    }
    made: ServerApp = LabApp.initialize_server(argv=[*_QUIET, *_TERMINALS], **settings)
    return made


def _make_single_user_server(settings: dict[str, Any]) -> ServerApp:
    """JupyterHub's own, which asks the hub who comes; its environment says where that is."""
    host = bind_address()
    # The hub names the port that it would like; on a shared node a free one is taken.
    os.environ["JUPYTERHUB_SERVICE_URL"] = f"http://{host}{os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '/')}"
    from jupyterhub.singleuser.extension import JupyterHubSingleUser

    where = [f"--ServerApp.ip={host}", "--ServerApp.port=0"]
    made: ServerApp = JupyterHubSingleUser.initialize_server(argv=[*where, *_TERMINALS, _HUB], **settings)
    return made


def _ask_nothing(server: ServerApp) -> None:
    """Leave out the part that asks every new user whether it may fetch Jupyter's news."""
    settings = server.web_app.settings
    inner = settings.get("page_config_hook")

    def without_news(handler: Any, page: dict[str, Any]) -> dict[str, Any]:
        page = inner(handler, page) if inner else page
        page["disabledExtensions"] = sorted({*page.get("disabledExtensions", ()), _NEWS})
        return page

    settings["page_config_hook"] = without_news


async def _begin(server: ServerApp, watch: Watch) -> None:
    probe.ready(f"http://{server.ip or '127.0.0.1'}:{server.port}", serves="notebook")
    watch.start()


class Watch:
    """Looks at the server every now and then, and stops it when it has been idle for long enough."""

    def __init__(self, server: ServerApp, idle_s: float) -> None:
        self._server = server
        self._idle_s = idle_s
        self._touched_at = 0.0
        self._looked_at = time.time()
        self._cpu: dict[tuple[int, float], float] = {}
        self._use = Use(time.time(), "start")
        self._told = Use(0.0, "")
        self.last_word = ""
        self._count_requests()

    def start(self) -> None:
        from tornado.ioloop import PeriodicCallback

        every = min(_LONGEST_LOOK_S, self._idle_s / 10) if self._idle_s else _LONGEST_LOOK_S
        PeriodicCallback(self._look_and_act, max(0.1, every) * 1000).start()

    def _look_and_act(self) -> None:
        self._use = last_use(self._use, self._look())
        now = time.time()
        if now - self._told.at >= _TELL_S or self._told.at == 0.0:
            probe.note("use", {"at": self._use.at, "what": self._use.what, "idle_limit_s": self._idle_s})
            self._told = Use(now, self._use.what)
        if self._idle_s and now - self._use.at >= self._idle_s:
            self.last_word = f"nobody used it for {format_duration(now - self._use.at)}; its devices are free"
            self._server.stop()

    def _look(self) -> Look:
        kernels: WatchedKernels = self._server.kernel_manager
        now, since = time.time(), self._looked_at
        self._looked_at = now
        return Look(
            at=now,
            executing=kernels.executing(),
            cpu_s=self._computed(),
            since=since,
            typed_at=_typed_at(_terminals(self._server)),
            touched_at=self._touched_at,
        )

    def _computed(self) -> float:
        """CPU seconds of all processes below the server since the last call."""
        now: dict[tuple[int, float], float] = {}
        for process in psutil.Process().children(recursive=True):
            try:
                used = process.cpu_times()
                now[process.pid, process.create_time()] = used.user + used.system
            except psutil.NoSuchProcess:
                continue
        before, self._cpu = self._cpu, now
        return sum(max(0.0, used - before.get(process, 0.0)) for process, used in now.items())

    def _count_requests(self) -> None:
        settings = self._server.web_app.settings
        log = settings["log_function"]

        def note_then_log(handler: Any) -> None:
            request = handler.request
            if touches(request.method, request.path, request.headers) and handler.get_status() < 400:
                self._touched_at = time.time()
            log(handler)

        settings["log_function"] = note_then_log


def _terminals(server: ServerApp) -> list[int]:
    """Process ids of the shells of all terminals."""
    manager = server.web_app.settings.get("terminal_manager")
    return [terminal.ptyproc.pid for terminal in manager.terminals.values()] if manager else []


def _typed_at(shells: list[int]) -> float:
    """When somebody last typed into one of these: the access time of its terminal, as `w` tells idle users."""
    typed = [0.0]
    for pid in shells:
        try:
            typed.append(os.stat(f"/proc/{pid}/fd/0").st_atime)  # noqa: PTH116 -- the link itself is no path
        except OSError:
            continue
    return max(typed)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # until the server takes it over
    main()
