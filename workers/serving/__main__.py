"""Serve one model: `python -m serving --model-dir M --port-file P [--host H]`.

Runs inside the replica's own environment, started by the runner. It listens on a port of the
system's choice, says which in the port file, and is ready (`GET /v1/ready` answers 200) only
after a real inference has worked, and has matched the stored sample where one is given
(`--sample-file`). It ends with exit code 3 when the model cannot be served.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import List

import uvicorn

from .batching import Limits
from .inspect_model import UnreadableModelError
from .model import UnservableModelError, describe_refusal, load_model
from .sample import parse_sample
from .web import Replica, Served, create_app

EXIT_UNSERVABLE = 3
TOKEN_VARIABLE = "TRAINWRIGHT_SERVING_TOKEN"  # noqa: S105 - a name, not a secret
_log = logging.getLogger("serving")


def main(arguments: List[str]) -> int:
    """Serve until a signal comes; return the exit code."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(message)s"
    )
    options = _parse(arguments)
    replica = Replica(
        Served(
            model=options.model_name,
            version=options.model_version,
            token=_read_token(),
            max_body_bytes=options.max_body_bytes,
            deadline_seconds=options.deadline_seconds,
        )
    )
    listener = _listen(options.host)
    config = uvicorn.Config(
        create_app(replica),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
        headers=[("Model-Version", options.model_version)],
    )
    server = uvicorn.Server(config)
    failures: List[str] = []

    def load() -> None:
        try:
            _load(replica, options)
        except (UnservableModelError, UnreadableModelError) as error:
            failures.append(str(error))
        except Exception as error:
            _log.exception("the model could not be loaded")
            failures.append(describe_refusal(error))
        if failures:
            server.should_exit = True

    threading.Thread(target=load, name="load", daemon=True).start()
    _write_port(options.port_file, listener.getsockname()[1])
    server.run(sockets=[listener])
    for failure in failures:
        _log.error("cannot serve this model: %s", failure)
    return EXIT_UNSERVABLE if failures else 0


def _parse(arguments: List[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="serving")
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--model-name", default="model")
    parser.add_argument("--model-version", default="1")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--sample-file", type=Path)
    parser.add_argument("--max-body-bytes", type=int, default=32 * 1024 * 1024)
    parser.add_argument("--deadline-seconds", type=float, default=30.0)
    parser.add_argument("--max-waiting", type=int, default=256)
    return parser.parse_args(arguments)


def _read_token() -> str:
    """Return the token of the variable; a random one (nobody gets in) without."""
    return os.environ.pop(TOKEN_VARIABLE, "") or secrets.token_urlsafe(32)


def _listen(host: str) -> socket.socket:
    # asyncio switches off Nagle's delay only for sockets that name their protocol.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((host, 0))
    listener.listen(1024)  # before the port is told: who reads it can connect
    listener.set_inheritable(False)
    return listener


def _write_port(path: Path, port: int) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(f"{port}\n")
    os.replace(partial, path)


def _load(replica: Replica, options: argparse.Namespace) -> None:
    started = time.monotonic()
    model = load_model(options.model_dir)
    signature = model.signatures[model.default]
    _log.info(
        "loaded %s with %s in %.1f s: %s → %s",
        signature.name,
        model.runtime,
        time.monotonic() - started,
        "; ".join(f"{each.name} {each.describe()}" for each in signature.inputs),
        "; ".join(f"{each.name} {each.describe()}" for each in signature.outputs),
    )
    started = time.monotonic()
    if options.sample_file is None:
        model.warm_up()
        done = "a made-up sample was answered"
    else:
        model.check(parse_sample(options.sample_file.read_text()))
        done = "the stored sample was answered as stored"
    _log.info("%s, in %.2f s", done, time.monotonic() - started)
    replica.start(model, Limits(max_waiting=options.max_waiting))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
