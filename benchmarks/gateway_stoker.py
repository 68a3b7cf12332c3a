"""Stoker's whole server, whose only endpoint "stub" is answered by the engine at a given address.

python benchmarks/gateway_stoker.py ENGINE [SECRET]      prints its address and a key
"""

from __future__ import annotations

import sys
import tempfile

from stoker.api import serve
from stoker.api.auth import account_of
from stoker.api.gateway import Gateway
from stoker.app import App
from stoker.endpoint import Replica, ReplicaState


def main() -> None:
    url, secret = sys.argv[1], (sys.argv[2:] or [""])[0]
    replicas = [Replica(1, 1, ReplicaState.READY, url=url, secret=secret)]
    with tempfile.TemporaryDirectory() as home:
        app = App.open(home)
        key = app.accounts.bootstrap()
        app.start()
        listening = serve.HttpServer(app, port=0)
        gateway = Gateway(lambda scope: account_of(app, scope), lambda _model, _who: replicas)
        listening.server.gateway = listening.server.state.gateway = gateway
        try:
            listening.run(lambda address: print(address, key, flush=True))
        finally:
            app.stop()


if __name__ == "__main__":
    main()
