"""Files of a run: outputs, what was uploaded, and its logs under their names."""

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.core._run_base import RunBase
from trainwright.azureml.exceptions import ServiceException, UserErrorException, raised_as
from trainwright.downloads import download_file, safe_target

_NO_DATASTORES = "Files go to the run, not to a datastore."


class RunFiles(RunBase):
    """The calls of a run that move files; names, once used, keep their content."""

    def get_file_names(self) -> list[str]:
        """Return the names of all files: outputs, what was uploaded, and logs."""
        return sorted({*self._files(), *self._logs()})

    def upload_file(
        self, name: str, path_or_stream: Any, datastore_name: str | None = None
    ) -> None:
        """Upload a file, or what a stream gives, under a name.

        Raises:
            ServiceException: the name is taken by other content.
        """
        leave_aside("Run.upload_file", _NO_DATASTORES, datastore_name=datastore_name)
        if hasattr(path_or_stream, "read"):
            content = path_or_stream.read()
            content = content.encode() if isinstance(content, str) else content
        else:
            path = Path(path_or_stream)
            if not path.is_file():
                raise UserErrorException(f"There is no file {path.absolute()}.")
            content = path.read_bytes()
        with raised_as(ServiceException):
            self.connection.request(
                "PUT",
                self._file_path(name),
                content=content,
                headers={"Content-Type": "application/octet-stream"},
            )

    def upload_files(
        self,
        names: Sequence[str],
        paths: Sequence[str],
        return_artifacts: bool = False,
        timeout_seconds: int | None = None,
        datastore_name: str | None = None,
    ) -> None:
        """Upload files under names of the same order."""
        leave_aside(
            "Run.upload_files", _NO_DATASTORES, datastore_name=datastore_name,
            return_artifacts=return_artifacts, timeout_seconds=timeout_seconds,
        )  # fmt: skip
        if len(names) != len(paths):
            raise UserErrorException("upload_files takes as many names as paths.")
        for name, path in zip(names, paths, strict=True):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, datastore_name: str | None = None) -> None:
        """Upload all files of a folder under a prefix."""
        leave_aside("Run.upload_folder", _NO_DATASTORES, datastore_name=datastore_name)
        folder = Path(path)
        if not folder.is_dir():
            raise UserErrorException(f"There is no folder {folder.absolute()}.")
        for place in sorted(folder.rglob("*")):
            if place.is_file():
                inside = place.relative_to(folder).as_posix()
                self.upload_file(posixpath.join(name, inside), place)

    def download_file(
        self, name: str, output_file_path: str | None = None, _validate_checksum: bool = False
    ) -> None:
        """Download a file.

        Args:
            name: of `get_file_names`.
            output_file_path: a file, or a folder that is there; None: the current folder.
            _validate_checksum: files are always checked.

        Raises:
            UserErrorException: the run has no such file.
        """
        target = Path(output_file_path or posixpath.basename(name))
        if target.is_dir():
            target = target / posixpath.basename(name)
        files = self._files(name)
        with raised_as(ServiceException):
            if name in files:
                one = files[name]
                download_file(
                    self.connection, self._file_path(name), target,
                    size_bytes=one["size_bytes"], sha256=one["sha256"],
                )  # fmt: skip
            elif name in self._logs():
                self._download_log(name, target)
            else:
                raise UserErrorException(f"The run has no file {name!r}; see get_file_names().")

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | None = None,
        output_paths: Sequence[str] | None = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: int | None = None,
    ) -> None:
        """Download all files whose names begin with a prefix.

        Args:
            prefix: None: all files.
            output_directory: folder; None: the current one.
            output_paths: where each goes, in the order of their names.
            batch_size: files are fetched one by one here, in parts side by side.
            append_prefix: keep the prefix as folders below the output directory.
            timeout_seconds: outages are waited out.
        """
        leave_aside(
            "Run.download_files", "Outages are waited out.", timeout_seconds=timeout_seconds
        )
        names = [name for name in self.get_file_names() if name.startswith(prefix or "")]
        if output_paths is not None and len(output_paths) != len(names):
            raise UserErrorException(f"There are {len(names)} files; give as many output_paths.")
        folder = Path(output_directory or ".")
        for index, name in enumerate(names):
            inside = name
            if prefix and not append_prefix:
                inside = posixpath.relpath(name, posixpath.dirname(prefix) or prefix)
                inside = posixpath.basename(name) if inside.startswith("..") else inside
            target = Path(output_paths[index]) if output_paths else safe_target(folder, inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.download_file(name, str(target))

    def get_all_logs(self, destination: str | None = None) -> list[str]:
        """Download all logs into a folder (None: the current one), and return their paths."""
        folder = Path(destination or ".")
        targets: list[str] = []
        with raised_as(ServiceException):
            for name in self._logs():
                target = safe_target(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                self._download_log(name, target)
                targets.append(str(target))
        return targets

    def _files(self, prefix: str | None = None) -> dict[str, dict[str, Any]]:
        path = self.connection.path("runs", self.id, "files")
        params = {"prefix": prefix} if prefix else {}
        with raised_as(ServiceException):
            return {one["path"]: one for one in self.connection.pages(path, params=params)}

    def _logs(self) -> list[str]:
        path = self.connection.path("runs", self.id, "logs", "streams")
        with raised_as(ServiceException):
            items = list(self.connection.pages(path))
        return sorted({one["name"] for one in items if one["name"] and not one["expired_at"]})

    def _download_log(self, name: str, target: Path) -> None:
        path = self.connection.path("runs", self.id, "logs")
        answer = self.connection.request("GET", path, params={"stream": name})
        target.write_bytes(answer.content)

    def _file_path(self, name: str) -> str:
        return self.connection.path("runs", self.id, "files", *name.split("/"))
