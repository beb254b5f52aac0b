"""Making datasets of web addresses."""

from collections.abc import Sequence
from typing import Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
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
        path: str | Sequence[str],
        validate: bool = True,
        partition_format: str | None = None,
        is_file: bool = False,
    ) -> FileDataset:
        """Make a dataset of files by their web addresses; they are fetched when it is registered.

        Args:
            path: an http or https address, or several.
            validate: addresses are always looked at when the dataset is registered.
            partition_format: has no counterpart.
            is_file: every address is that of a file here.

        Raises:
            UserErrorException: something is no web address.
        """
        where = "Dataset.File.from_files"
        refuse(where, "Columns of paths are not made.", partition_format=partition_format)
        leave_aside(
            where, "Files are always looked at when they are registered.",
            validate=not validate and "False",
        )  # fmt: skip
        paths = [path] if isinstance(path, str) else list(path)
        for one in paths:
            if not isinstance(one, str):
                raise NotSupported(
                    f"{where}: {one!r} is a path in a datastore, which is not reached here. Give "
                    "web addresses; any web server that you have will do."
                )
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
    ) -> NoReturn:
        """Refuse, and say what to do instead.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "Dataset.File.upload_directory: datastores are not reached here. Serve the folder "
            "(`python -m http.server`) and register its addresses with from_files."
        )


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
