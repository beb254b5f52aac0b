"""Files of the run's history: upload, list, download."""

import os
import posixpath

from azureml.core._service import file_path
from azureml.exceptions import UserErrorException


class RunFiles(object):
    """The calls of a run that move files; names, once used, keep their content."""

    def _service(self):
        raise NotImplementedError

    def upload_file(self, name, path_or_stream, datastore_name=None):
        """Upload a file, or what a stream gives, under a name."""
        address = file_path(self.id, name)
        if not hasattr(path_or_stream, "read"):
            if not os.path.isfile(path_or_stream):
                raise UserErrorException("There is no file {}".format(path_or_stream))
            self._service().upload(address, path_or_stream)
            return
        data = path_or_stream.read()
        self._service().upload_bytes(address, data.encode() if isinstance(data, str) else data)

    def upload_files(self, names, paths, return_artifacts=False, timeout_seconds=None,
                     datastore_name=None):  # fmt: skip
        """Upload files under names of the same order."""
        if len(names) != len(paths):
            raise UserErrorException("upload_files takes as many names as paths")
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name, path, datastore_name=None):
        """Upload all files of a folder under a prefix."""
        if not os.path.isdir(path):
            raise UserErrorException("There is no folder {}".format(path))
        for relative in files_under(path):
            self.upload_file(posixpath.join(name, relative), os.path.join(path, relative))

    def get_file_names(self):
        """Return the names of all files."""
        return [item["path"] for item in self._list_files(None)]

    def download_file(self, name, output_file_path=None, _validate_checksum=False):
        """Download a file, into the current folder when no path is given."""
        target = output_file_path or posixpath.basename(name)
        if os.path.isdir(target):
            target = os.path.join(target, posixpath.basename(name))
        self._service().download(file_path(self.id, name), target)

    def download_files(self, prefix=None, output_directory=None, output_paths=None, batch_size=100,
                       append_prefix=True, timeout_seconds=None):  # fmt: skip
        """Download all files whose names begin with the prefix."""
        names = [item["path"] for item in self._list_files(prefix)]
        if output_paths is not None and len(output_paths) != len(names):
            raise UserErrorException("download_files takes as many paths as there are files")
        for index, name in enumerate(names):
            relative = name
            if prefix and not append_prefix:
                relative = posixpath.relpath(name, prefix)
            target = output_paths[index] if output_paths else relative
            self.download_file(name, os.path.join(output_directory or ".", target))

    def _list_files(self, prefix):
        return self._service().items("/runs/{}/files".format(self.id), prefix=prefix)

    def _ensure_uploaded(self, path):
        """Upload a local file or folder unless the history has something under its name."""
        name = posixpath.normpath(path.replace(os.sep, "/"))
        names = [item["path"] for item in self._list_files(name)]
        if name in names or any(found.startswith(name + "/") for found in names):
            return
        if os.path.isdir(path):
            self.upload_folder(name, path)
        elif os.path.isfile(path):
            self.upload_file(name, path)
        else:
            raise UserErrorException("The run has no file {}, and there is none here".format(path))


def files_under(folder):
    """Return the paths of all files in a folder, relative, in order."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        found += [
            os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
            for name in sorted(names)
        ]
    return found
