"""Completion of names in the shell: asked of the server, quickly or not at all."""

from collections.abc import Callable, Iterator
from itertools import islice

from trainwright.commands.session import given
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError

_MOST = 200
Completer = Callable[[str], list[str]]


def runs(incomplete: str) -> list[str]:
    """Ids of runs, the newest first."""
    return _names("runs", "id")(incomplete)


def experiments(incomplete: str) -> list[str]:
    """Names of experiments."""
    return _names("experiments", "name")(incomplete)


def clusters(incomplete: str) -> list[str]:
    """Names of clusters."""
    return _names("clusters", "name")(incomplete)


def datasets(incomplete: str) -> list[str]:
    """Names of datasets."""
    return _names("datasets", "name")(incomplete)


def models(incomplete: str) -> list[str]:
    """Names of models."""
    return _names("models", "name")(incomplete)


def sweeps(incomplete: str) -> list[str]:
    """Ids of sweeps, the newest first."""
    return _names("sweeps", "id")(incomplete)


def batch_scorings(incomplete: str) -> list[str]:
    """Ids of batch scorings, the newest first."""
    return _names("batch-scorings", "id")(incomplete)


def deployments(incomplete: str) -> list[str]:
    """Names of deployments."""
    return _names("deployments", "name")(incomplete)


def workspaces(incomplete: str) -> list[str]:
    """Names of workspaces."""
    return _listed(lambda server: server.server_path("workspaces"), "name", incomplete)


def _names(kind: str, field: str) -> Completer:
    return lambda incomplete: _listed(lambda server: server.path(kind), field, incomplete)


def _listed(path: Callable[[Connection], str], field: str, incomplete: str) -> list[str]:
    try:
        with Connection.open(url=given.url, workspace=given.workspace, retry_seconds=0) as server:
            return list(islice(_matching(server, path(server), field, incomplete), _MOST))
    except TrainwrightError:
        # A shell that waits for words has no use for an error.
        return []


def _matching(server: Connection, path: str, field: str, incomplete: str) -> Iterator[str]:
    # A shell that waits for words has no use for a warning either.
    pages = server.pages(path, params={"page_size": _MOST}, on_left_out=lambda _: None)
    for item in islice(pages, 2000):
        name = str(item[field])
        if name.startswith(incomplete) and name.isprintable():
            yield name
