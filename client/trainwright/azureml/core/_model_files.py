"""Versions of models: which one, and their files."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from trainwright.azureml.exceptions import ModelNotFoundException, UserErrorException
from trainwright.azureml.exceptions import WebserviceException as _Refused
from trainwright.connection import Connection
from trainwright.downloads import download_file, safe_target
from trainwright.folders import SourceFile, source_files
from trainwright.uploads import plan_snapshot, upload_file

_Said = Mapping[str, str] | Sequence[Any] | None


@dataclass(frozen=True)
class Wanted:
    """What a version must have: names, or names with values."""

    tags: _Said = None
    properties: _Said = None
    run_id: str | None = None
    framework: str | None = None

    def has(self, read: Mapping[str, Any]) -> bool:
        """Whether a version has all of it."""
        return (
            _has(read["tags"], self.tags)
            and _has(read["properties"], self.properties)
            and self.run_id in (None, read["lineage"].get("run_id"))
            and (self.framework or read["framework"]).lower() == read["framework"].lower()
        )

    @property
    def is_anything(self) -> bool:
        """Whether every version will do."""
        return not (self.tags or self.properties or self.run_id or self.framework)


def _has(there: Mapping[str, str], wanted: _Said) -> bool:
    pairs = list(wanted.items()) if isinstance(wanted, Mapping) else list(wanted or [])
    for one in pairs:
        name, value = (one, None) if isinstance(one, str) else (one[0], one[1])
        if name not in there or (value is not None and there[name] != value):
            return False
    return True


def find(
    connection: Connection, name: str, version: int | str | None, wanted: Wanted
) -> dict[str, Any]:
    """The latest version, or one by its number, that has what is wanted.

    Raises:
        ModelNotFoundException: there is none.
    """
    if version is not None or wanted.is_anything:
        path = connection.path("models", name, "versions", version or "latest")
        read: dict[str, Any] = connection.get(path)
        if wanted.has(read):
            return read
    else:
        for read in all_versions(connection, name, wanted, latest=True):
            return read
    raise ModelNotFoundException(f"There is no version of {name!r} that has all this.")


def all_versions(
    connection: Connection, name: str | None, wanted: Wanted, latest: bool
) -> Iterator[dict[str, Any]]:
    """Versions that have what is wanted, the newest of each model first.

    Raises:
        WebserviceException: the latest is wanted, and one that may be it cannot be shown.
    """
    names = [name] if name else [one["name"] for one in connection.pages(connection.path("models"))]
    for model in names:
        path = connection.path("models", model, "versions")
        left_out: list[str] = []
        pages = connection.pages(path, on_left_out=left_out.extend if latest else None)
        versions = sorted(pages, key=lambda read: -int(read["version"]))
        fitting = [read for read in versions if wanted.has(read)]
        if not latest:
            yield from fitting
            continue
        newest = int(fitting[0]["version"]) if fitting else 0
        unknown = sorted(int(number) for number in left_out if int(number) > newest)
        if unknown:
            raise _Refused(
                f"The latest version of {model!r} that has all this cannot be told: the server "
                f"cannot show {unknown}, and its log says why. Name the version."
            )
        yield from fitting[:1]


def local_files(path: Path, child_paths: Sequence[str] | None) -> list[SourceFile]:
    """What is to be registered, with paths as the version will have them.

    Raises:
        UserErrorException: there is nothing, or not what `child_paths` says.
    """
    if not path.exists():
        raise UserErrorException(f"There is no file or folder {path.absolute()}.")
    if path.is_dir():
        files = source_files(path)
    else:
        files = [one for one in source_files(path.parent) if one.path == path.name]
    if child_paths:
        wanted = [PurePosixPath(child) for child in child_paths]
        files = [
            one for one in files if any(PurePosixPath(one.path).is_relative_to(w) for w in wanted)
        ]
    if not files:
        raise UserErrorException(f"{path.absolute()} has none of the files.")
    return [replace(one, executable=False) for one in files]


def send(connection: Connection, files: list[SourceFile]) -> list[dict[str, Any]]:
    """Send what the workspace lacks, and say what a version is made of."""
    for file in plan_snapshot(connection, files).missing:
        upload_file(connection, file.place, sha256=file.sha256)
    return [{"path": one.path, "sha256": one.sha256, "size_bytes": one.size_bytes} for one in files]


def download(
    connection: Connection, path: str, read: Mapping[str, Any], folder: Path, *, may_exist: bool
) -> str:
    """Download a version's files; a single one lies in the folder itself.

    What is there already is replaced when all of them have come.

    Raises:
        WebserviceException: something is there already.
        TransferFailed: a name would lead out of the folder, or a file did not come.
    """
    files = list(connection.pages(f"{path}/files"))
    # Where a version came from a path of a run, its last part is what was registered; else a file
    # that is alone was, and of a folder only the model's name is known.
    name = PurePosixPath(read["lineage"].get("path") or "").name
    alone = files[0]["path"] if len(files) == 1 and "/" not in files[0]["path"] else ""
    is_file = bool(alone) and name in ("", alone)
    root = safe_target(folder, alone if is_file else name or read["name"])
    if root.exists() and not may_exist:
        raise _Refused(f"{root} is there already; exist_ok=True replaces it.")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=f".{root.name}.") as beside:
        fetched = Path(beside, root.name)
        if not is_file:
            fetched.mkdir()
        for file in files:
            download_file(
                connection,
                "/".join([path, "files", *_quoted(connection, file["path"])]),
                fetched if is_file else safe_target(fetched, file["path"]),
                size_bytes=file["size_bytes"],
                sha256=file["sha256"],
            )
        if root.is_dir() and not root.is_symlink():
            shutil.rmtree(root)
        else:
            root.unlink(missing_ok=True)
        fetched.replace(root)
    return str(root)


def _quoted(connection: Connection, path: str) -> list[str]:
    return connection.server_path(*path.split("/")).removeprefix("/v1/").split("/")
