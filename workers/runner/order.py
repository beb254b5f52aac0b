"""The work order of one node, as `GET /v1/node/order` answers it."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from workers.runner.errors import PrepareError

LOG_SPOOL_BYTES = 4 << 30
LOG_STREAM_BYTES = 10 << 30
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class OrderFile(NamedTuple):
    """A file to have on the node: its path under some folder, and its bytes by digest."""

    path: str
    sha256: str
    size_bytes: int
    executable: bool


class OrderInput(NamedTuple):
    """A named input: a tree of files, to be mounted (linked) or downloaded (copied).

    Attributes:
        mounted_at: where a container may have it already, if it could be mounted.
    """

    name: str
    mode: str
    mounted_at: str | None
    path_on_compute: str | None
    files: list[OrderFile]


class OrderProcess(NamedTuple):
    """A process to start; arguments and values are strings or `{"template": …}` objects."""

    stream: str
    argv: list[Any]
    environment: dict[str, Any]


class OrderPorts(NamedTuple):
    """Ports to keep free for the processes, which learn of them at the start."""

    first: int
    wanted: int


class OrderLaunch(NamedTuple):
    """A launcher starts the processes: which, the attempt's secret, whether this is node 0."""

    kind: str
    secret: str
    is_first: bool


class Readiness(NamedTuple):
    """How to learn that a serving process is ready, and that it goes on answering."""

    port_file: str
    path: str
    timeout_seconds: float
    live_path: str
    silence_seconds: float


class Order(NamedTuple):
    """Everything that one node is asked to do."""

    name: str
    kind: str
    heartbeat_seconds: float
    grace_seconds: float
    max_duration_seconds: float | None
    deliver_seconds: float
    source: list[OrderFile]
    texts: dict[str, str]
    inputs: list[OrderInput]
    processes: list[OrderProcess]
    environment: dict[str, Any]
    path_prepend: list[str]
    is_standin_wanted: bool
    objects_dir: str | None
    collect: list[str]
    follow: list[str]
    ports: OrderPorts | None
    reach_seconds: float
    launch: OrderLaunch | None
    stream_prefix: str
    checkpoints: str | None
    log_spool_bytes: int
    log_stream_bytes: int
    host_metrics_seconds: float | None
    readiness: Readiness | None
    secrets: list[str]
    traceparent: str


def parse_order(data: dict[str, Any]) -> Order:
    """Read the order from its JSON form.

    Raises:
        PrepareError: a member is missing, of the wrong kind, or names a path outside its folder.
    """
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PrepareError("bad_order", f"the work order cannot be read: {error!r}") from error


def inside(folder: str, path: str) -> str:
    """Join a relative path to a folder, refusing one that leads out of it.

    Raises:
        PrepareError: the path is empty, absolute, or climbs out.
    """
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise PrepareError("unsafe_path", f"the path {path!r} does not stay inside its folder")
    return os.path.join(folder, *parts)


def _parse(data: dict[str, Any]) -> Order:
    limit = data.get("max_duration_seconds")
    sampling = data.get("host_metrics_seconds")
    readiness = data.get("readiness")
    ports = data.get("ports")
    launch = data.get("launch")
    return Order(
        name=str(data["name"]),
        kind=str(data.get("kind", "run")),
        heartbeat_seconds=float(data.get("heartbeat_seconds", 5)),
        grace_seconds=float(data.get("grace_seconds", 10)),
        max_duration_seconds=None if limit is None else float(limit),
        deliver_seconds=float(data.get("deliver_seconds", 86400)),
        source=[_file(item) for item in data.get("source") or []],
        texts={str(path): str(text) for path, text in (data.get("texts") or {}).items()},
        inputs=[_input(item) for item in data.get("inputs") or []],
        processes=[_process(item) for item in data["processes"]],
        environment=dict(data.get("environment") or {}),
        path_prepend=[str(item) for item in data.get("path_prepend") or []],
        is_standin_wanted=bool(data.get("standin", False)),
        objects_dir=data.get("objects_dir"),
        collect=[str(item) for item in data.get("collect") or []],
        follow=[str(item) for item in data.get("follow") or []],
        ports=None if ports is None else OrderPorts(int(ports["first"]), int(ports["count"])),
        reach_seconds=float(data.get("reach_seconds", 30)),
        launch=None if launch is None else _launch(launch),
        checkpoints=data.get("checkpoints"),
        log_stream_bytes=int(data.get("log_stream_bytes", LOG_STREAM_BYTES)),
        log_spool_bytes=int(data.get("log_spool_bytes", LOG_SPOOL_BYTES)),
        host_metrics_seconds=None if sampling is None else float(sampling),
        stream_prefix=str(data.get("stream_prefix") or ""),
        readiness=None if readiness is None else _readiness(readiness),
        secrets=[_secret(item) for item in data.get("secrets") or []],
        traceparent=str(data.get("traceparent") or ""),
    )


def _secret(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a secret")
    return name


def _file(data: dict[str, Any]) -> OrderFile:
    digest = str(data["sha256"])
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a SHA-256")
    path = str(data["path"])
    inside("", path)
    return OrderFile(path, digest, int(data["size_bytes"]), bool(data.get("executable", False)))


def _input(data: dict[str, Any]) -> OrderInput:
    name = str(data["name"])
    mode = str(data["mode"])
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} cannot name an input")
    if mode not in ("mount", "download"):
        raise ValueError(f"{mode!r} is not a mode of input {name!r}")
    files = [_file(item) for item in data.get("files") or []]
    return OrderInput(name, mode, data.get("mounted_at"), data.get("path_on_compute"), files)


def _process(data: dict[str, Any]) -> OrderProcess:
    argv = list(data["argv"])
    if not argv:
        raise ValueError("a process has no argument")
    return OrderProcess(str(data["stream"]), argv, dict(data.get("environment") or {}))


def _launch(data: dict[str, Any]) -> OrderLaunch:
    kind = str(data["kind"])
    if kind not in ("mpi", "gloo"):
        raise ValueError(f"{kind!r} is no launcher that this runner knows")
    return OrderLaunch(kind, str(data["secret"]), bool(data["is_first"]))


def _readiness(data: dict[str, Any]) -> Readiness:
    return Readiness(
        port_file=str(data.get("port_file", "port")),
        path=str(data.get("path", "/v1/ready")),
        timeout_seconds=float(data.get("timeout_seconds", 120)),
        live_path=str(data.get("live_path", "/v1/live")),
        silence_seconds=float(data.get("silence_seconds", 20)),
    )
