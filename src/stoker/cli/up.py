"""``stoker up``: the platform on this machine."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from stoker import __version__
from stoker.api.door import LOOPBACK_NAMES
from stoker.api.serve import DEFAULT_PORT, HttpServer
from stoker.api.server import ServerSettings
from stoker.app import App
from stoker.cli.render import say
from stoker.cli.session import is_loopback
from stoker.cli.texts import t
from stoker.client import Login
from stoker.client.config import store_login, stored_login
from stoker.cluster import Node
from stoker.errors import BadInput, Denied
from stoker.home import default_home
from stoker.units import parse_bytes


def up(
    home: Annotated[
        Path | None, typer.Option(help="Folder of the state; else $STOKER_HOME or the XDG one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    devices: Annotated[str, typer.Option(help="Devices to offer, H100:8; else those the drivers tell of.")] = "",
    cpus: Annotated[int, typer.Option(min=0, help="CPUs to offer to jobs; 0: those of this machine.")] = 0,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name this server answers to, when it listens wider; else any.")
    ] = None,
    upload_limit: Annotated[str, typer.Option(help="The largest uploaded file.")] = "4G",
    artifacts: Annotated[
        str,
        typer.Option(help="Folder or s3://bucket/prefix, seen by all nodes, for what stages make."),
    ] = "",
    artifacts_credentials: Annotated[
        str, typer.Option(help="File of AWS_...=value lines for it; else each machine's own credentials.")
    ] = "",
    database: Annotated[
        str, typer.Option(envvar="STOKER_DATABASE", help="SQLAlchemy URL, best in the environment; else SQLite.")
    ] = "",
    notebooks_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the notebooks; else the one after --port.")
    ] = None,
    notebooks_url: Annotated[
        str, typer.Option(help="Where browsers find notebooks, behind a proxy; with * each has its own name.")
    ] = "",
    advertise: Annotated[
        str, typer.Option(help="URL at which jobs on other machines reach this platform; else as it listens.")
    ] = "",
    admin_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="STOKER_ADMIN_KEY_FILE", help="File with the key that the first admin gets; else a new one."
        ),
    ] = None,
    recover_admin: Annotated[
        bool, typer.Option("--recover-admin", help="Print a further admin key: for when the first is lost.")
    ] = False,
) -> int:
    """Start the platform on this machine.

    API, console, scheduler and gateway in one process. The first start prints an admin key, once. Ctrl-C stops the
    platform; running jobs go on and are found again at the next start.
    """
    place = (home or default_home()).expanduser().absolute()
    limit = parse_bytes(upload_limit)
    app = App.open(
        place,
        devices=devices,
        cpus=cpus,
        database=database,
        upload_limit=limit,
        advertise=advertise,
        artifacts=artifacts,
        artifacts_credentials=artifacts_credentials,
    )
    signal.signal(signal.SIGTERM, _stop)
    try:
        if admin_key_file is not None:
            app.accounts.bootstrap(_key_in(admin_key_file))  # before others could reach it without a key
        settings = ServerSettings(
            hosts=_hosts(host, allow_host),
            upload_limit=limit,
            notebooks_port=notebooks_port,
            notebooks_url=notebooks_url,
        )
        server = HttpServer(app, host, port, settings)
        secret = app.accounts.bootstrap() or (app.accounts.recover() if recover_admin else None)
        app.start()
        server.run(ready=lambda url: _greet(app, url, secret))
    except KeyboardInterrupt:
        pass
    finally:
        app.stop()
    say(t("stopped; jobs go on"))
    return 0


def _key_in(file: Path) -> str:
    try:
        if key := file.read_text().strip():
            return key
        raise BadInput(f"{file} is empty; write the first admin's key into it")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the admin key cannot be read from {file}: {error}; give --admin-key-file") from None


def _hosts(host: str, named: list[str] | None) -> frozenset[str]:
    """Names to answer to; none given leaves it to the server: any, or on loopback its own."""
    return frozenset((*named, host, *LOOPBACK_NAMES)) if named else frozenset()


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _greet(app: App, url: str, secret: str | None) -> None:
    app.lock.tell(address=url)
    nodes = _machines(app.dispatcher.nodes())
    devices = sum(len(node.devices) for node in nodes)
    cpus = sum(node.cpus for node in nodes)
    what = t("devices {devices}, CPUs {cpus}, nodes {nodes}", devices=devices, cpus=cpus, nodes=len(nodes))
    say(f"Stoker {__version__} · {socket.gethostname()}   {what}   {t('state {path}', path=app.home.path)}")
    say(f"  {t('console')}  {url}      API  {url}/docs      OpenAI base_url  {url}/v1")
    say(f"  {t('notebooks')}  {app.notebooks.site.url or app.notebooks.site.origin(0, urlsplit(url).netloc)}")
    if secret is not None:
        say(f"  {t('admin key (shown once)')}  {secret}")
        say(f"  {_remember(app, url, secret)}")
    elif _moved(app, url):
        say(f"  {t('this user is logged in at the new address')}")
    say(f"  {t('Ctrl-C stops; jobs go on')}")


def _machines(nodes: Iterable[Node]) -> list[Node]:
    """Each once: of what several engines say of one, the one that offers most devices."""
    best: dict[str, Node] = {}
    for node in nodes:
        known = best.get(node.machine)
        if known is None or len(node.devices) > len(known.devices):
            best[node.machine] = node
    return list(best.values())


def _remember(app: App, url: str, secret: str) -> str:
    """Log this user in to their own home's platform, if they are logged in nowhere; says what was done."""
    if app.home.path == default_home().absolute() and stored_login() is None:
        return t("this user is logged in with it: {path}", path=store_login(Login(url, secret)))
    return t("to use it in another terminal: stoker login {url}", url=url)


def _moved(app: App, url: str) -> bool:
    """Follow this platform to another port: when this user's login on loopback was one of its own keys."""
    login = stored_login()
    if login is None or login.url == url or not is_loopback(login.url) or not is_loopback(url):
        return False
    try:
        app.accounts.authenticate(login.api_key)
    except Denied:
        return False
    store_login(Login(url, login.api_key))
    return True
