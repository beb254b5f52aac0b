"""Where artifacts lie, as MLflow's clients address them.

An artifact address has no host: clients put the tracking address before it, so it is good behind
every proxy. Its path has the shape that MLflow's own server gives it::

    mlflow-artifacts:/<experiment>/<run>/artifacts/<path>           files of a run
    mlflow-artifacts:/<experiment>/models/<model>/artifacts/<path>  files of a logged model
    mlflow-artifacts:/registered/<version>/<path>                   files of a registered version
    mlflow-artifacts:/<path>                                        files of the workspace: all else
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

SCHEME = "mlflow-artifacts"
_RUN = re.compile(r"^/?(?P<experiment>[^/]+)/(?P<id>[^/]+)/artifacts(/(?P<path>.*))?$")
_MODEL = re.compile(r"^/?(?P<experiment>[^/]+)/models/(?P<id>[^/]+)/artifacts(/(?P<path>.*))?$")
_VERSION = re.compile(r"^/?registered/(?P<id>[^/]+)(/(?P<path>.*))?$")
_CONTROL = re.compile(r"[\x00-\x1f]")
_ELSEWHERE = re.compile(r"file:|[a-z]:[\\/]", re.IGNORECASE)
"""Addresses of files on a machine's own disk."""
_MOST_DECODINGS = 8
_SERVED = re.compile(r"^.*/mlflow-artifacts/artifacts/(?P<rest>.*)$")


@dataclass(frozen=True)
class Place:
    """A path below the artifacts of something.

    Attributes:
        kind: what the artifacts belong to.
        id: of the run, the logged model or the registered version; empty for the workspace.
        path: below it; empty for all of it.
    """

    kind: Literal["run", "model", "version", "workspace"]
    id: str
    path: str


def experiment_root(experiment_id: str) -> str:
    """Where the artifacts of an experiment lie."""
    return f"{SCHEME}:/{experiment_id}"


def run_root(experiment_id: str, run_id: str) -> str:
    """Where the artifacts of a run lie."""
    return f"{SCHEME}:/{experiment_id}/{run_id}/artifacts"


def model_root(experiment_id: str, model_id: str) -> str:
    """Where the artifacts of a logged model lie."""
    return f"{SCHEME}:/{experiment_id}/models/{model_id}/artifacts"


def version_root(version_id: str) -> str:
    """Where the files of a registered version lie."""
    return f"{SCHEME}:/registered/{version_id}"


def model_folder(model_id: str) -> str:
    """The folder of a logged model among the files of its run."""
    return f"models/{model_id}"


def is_safe(path: str) -> bool:
    """Whether a path stays below where it begins, however often it is decoded.

    One that is encoded again and again is not looked into, and not safe. Control characters are
    looked for in the path as it is: in a name like ``dog%step%10%uuid`` nothing is encoded.

    Args:
        path: of an artifact, or that of an address.
    """
    if _CONTROL.search(path) or _ELSEWHERE.match(path):
        return False
    for _ in range(_MOST_DECODINGS):
        if ".." in path.replace("\\", "/").split("/"):
            return False
        before, path = path, unquote(path)
        if path == before:
            return True
    return False


def place_of(path: str) -> Place:
    """The place that the path of an artifact names."""
    # A model's path also looks like that of a run named "models".
    match = _MODEL.match(path)
    if match:
        return Place("model", match["id"], plain(match["path"] or ""))
    match = _VERSION.match(path)
    if match:
        return Place("version", match["id"], plain(match["path"] or ""))
    match = _RUN.match(path)
    if match:
        return Place("run", match["id"], plain(match["path"] or ""))
    return Place("workspace", "", plain(path))


def place_of_address(address: str) -> Place | None:
    """The place behind the address of artifacts that are kept here; None for any other address.

    Args:
        address: ``mlflow-artifacts:/…``, ``runs:/RUN/PATH``, ``models:/LOGGED_MODEL`` or the full
            address of this server's artifacts.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    path = unquote(parts.path)
    if parts.scheme == SCHEME:
        return place_of(path)
    if parts.scheme == "runs":
        run_id, _, rest = path.lstrip("/").partition("/")
        return Place("run", run_id, plain(rest)) if run_id else None
    if parts.scheme == "models":
        model_id, _, rest = path.lstrip("/").partition("/")
        return Place("model", model_id, "") if model_id.startswith("m-") and not rest else None
    if parts.scheme in ("http", "https"):
        match = _SERVED.match(path)
        return place_of(match["rest"]) if match else None
    return None


def plain(path: str) -> str:
    """A path without what means nothing in it: ``./plots//a.svg/`` is ``plots/a.svg``."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))
