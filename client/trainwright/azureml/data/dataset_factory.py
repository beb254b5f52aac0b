"""Making datasets of web addresses."""

from collections.abc import Sequence
from typing import Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.datastore import Datastore
from trainwright.azureml.data.data_reference import DataReference
from trainwright.azureml.data.file_dataset import FileDataset
from trainwright.azureml.exceptions import NotSupported, UserErrorException

_SCHEMES = ("http://", "https://")
_TABULAR = (
    "There are no tabular datasets here. Register the files with Dataset.File.from_files(...) and "
    "read them in the script, for example with pandas.read_csv."
)


class FileDatasetFactory:
    """`Dataset.File`."""

    @staticmethod
    def from_files(
        path: Any,
        validate: bool = True,
        partition_format: str | None = None,
        is_file: bool = False,
    ) -> FileDataset:
        """Make a dataset of files by where they are; they are fetched when it is registered.

        Args:
            path: an http or https address, or several; or (datastore, path), or several of one
                datastore, where a path may be a folder or have `*`, `**` and `?`.
            validate: addresses are always looked at when the dataset is registered.
            partition_format: has no counterpart.
            is_file: every address is that of a file here.

        Raises:
            UserErrorException: something is neither.
        """
        where = "Dataset.File.from_files"
        refuse(where, "Columns of paths are not made.", partition_format=partition_format)
        leave_aside(
            where, "Files are always looked at when they are registered.",
            validate=not validate and "False",
        )  # fmt: skip
        given = [path] if isinstance(path, str | tuple | DataReference) else list(path)
        paths = [one for one in given if isinstance(one, str)]
        if len(paths) < len(given):
            return _of_datastore(where, given)
        for one in paths:
            if not one.lower().startswith(_SCHEMES):
                raise NotSupported(
                    f"{where}: {one!r} is no web address. Files of this machine are not uploaded "
                    "as data: put them into the source folder, or serve them "
                    "(`python -m http.server`)."
                )
        if not paths:
            raise UserErrorException(f"{where}: name at least one address.")
        return FileDataset(urls=paths)

    @staticmethod
    def upload_directory(
        src_dir: str,
        target: Any,
        pattern: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> FileDataset:
        """Upload a folder into a datastore, and make a dataset of what is there then.

        Args:
            src_dir: the folder on this machine.
            target: (datastore, path).
            pattern: has no counterpart.
            overwrite: replace files that are there.
            show_progress: print each file's name.
        """
        where = "Dataset.File.upload_directory"
        refuse(where, "Upload a folder that has only these.", pattern=pattern)
        datastore, folder = _place(where, target)
        datastore.upload(src_dir, folder or None, overwrite, show_progress)
        return FileDataset(datastore=datastore.name, paths=[folder or "**"])


def _of_datastore(where: str, paths: Sequence[Any]) -> FileDataset:
    places = [_place(where, one) for one in paths]
    names = {datastore.name for datastore, _ in places}
    if len(names) != 1:
        raise NotSupported(f"{where}: a dataset has the files of one datastore, not of {names}.")
    return FileDataset(datastore=names.pop(), paths=[folder or "**" for _, folder in places])


def _place(where: str, given: Any) -> tuple[Datastore, str]:
    if isinstance(given, DataReference):
        return given.datastore, given.path_on_datastore
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Datastore):
        return given[0], str(given[1]).strip("/")
    raise UserErrorException(f"{where}: {given!r} is no (datastore, path).")


class TabularDatasetFactory:
    """`Dataset.Tabular`: every call says what to do instead."""

    @staticmethod
    def from_delimited_files(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Dataset.Tabular.from_delimited_files: {_TABULAR}")

    @staticmethod
    def from_parquet_files(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Dataset.Tabular.from_parquet_files: {_TABULAR}")

    @staticmethod
    def from_json_lines_files(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Dataset.Tabular.from_json_lines_files: {_TABULAR}")

    @staticmethod
    def from_sql_query(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Dataset.Tabular.from_sql_query: {_TABULAR}")

    @staticmethod
    def register_pandas_dataframe(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Dataset.Tabular.register_pandas_dataframe: {_TABULAR}")
