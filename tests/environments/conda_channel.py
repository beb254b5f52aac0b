"""A conda channel of our own: real packages, as a client of conda's formats expects them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SUBDIR = "linux-64"


class CondaChannel:
    """A folder with packages and the index of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, dict[str, object]] = {}
        self._write("noarch", {})

    def add_python(self, version: str) -> None:
        """A Python that is the system's own, in the form of a conda package."""
        links = {f"bin/{name}": "/usr/bin/python3" for name in ("python", "python3")}
        configuration = f"home = /usr/bin\nversion = {version}\n"
        self.add("python", version, files={"pyvenv.cfg": configuration}, links=links)

    def add(
        self,
        name: str,
        version: str,
        *,
        files: Mapping[str, str],
        links: Mapping[str, str] | None = None,
        depends: Sequence[str] = (),
    ) -> None:
        """Offer a package.

        Args:
            name: of the package.
            version: of the package.
            files: path in the environment and text.
            links: path in the environment and what it points to.
            depends: what it needs, e.g. ``python >=3.11``.
        """
        index = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "depends": list(depends),
            "subdir": SUBDIR,
        }
        data = _package(index, files, links or {})
        file_name = f"{name}-{version}-0.tar.bz2"
        self._records[file_name] = {
            **index,
            "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        self._write(SUBDIR, self._records)
        (self.folder / SUBDIR / file_name).write_bytes(data)

    def _write(self, subdir: str, records: Mapping[str, object]) -> None:
        (self.folder / subdir).mkdir(parents=True, exist_ok=True)
        index = {"info": {"subdir": subdir}, "packages": records, "packages.conda": {}}
        (self.folder / subdir / "repodata.json").write_text(json.dumps(index))


def _package(
    index: Mapping[str, object], files: Mapping[str, str], links: Mapping[str, str]
) -> bytes:
    paths = [_path(path, "hardlink", text) for path, text in files.items()]
    paths += [_path(path, "softlink", "") for path in links]
    texts = {
        **files,
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as tar:
        for path, text in texts.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return packed.getvalue()


def _path(path: str, kind: str, text: str) -> dict[str, object]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"_path": path, "path_type": kind, "sha256": digest, "size_in_bytes": len(text)}
