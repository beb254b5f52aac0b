"""What a run logs: numbers, lists, rows, tables, images."""

import io
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.core._run_base import RunBase
from trainwright.azureml.exceptions import ServiceException, UserErrorException, raised_as


class RunLogging(RunBase):
    """The `log…` calls."""

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log a number or a text; the same name again makes a list."""
        value = plain(value)
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, int | float) or value in _NOT_FINITE:
            self._emit("scalar", name, value, description, step)
        elif isinstance(value, list):
            self._emit("list", name, value, description, step)
        else:
            self._emit("string", name, str(value), description, step)

    def log_list(self, name: str, value: Sequence[Any], description: str = "") -> None:
        """Log a list of values."""
        self._emit("list", name, [plain(item) for item in value], description)

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Log one row by its columns; rows of a name make a table."""
        self._emit("row", name, plain(kwargs), description)

    def log_table(self, name: str, value: Mapping[str, Any], description: str = "") -> None:
        """Log a table: a dictionary of columns."""
        self._emit("table", name, plain(dict(value)), description)

    def log_image(
        self, name: str, path: str | None = None, plot: Any = None, description: str = ""
    ) -> None:
        """Log an image: a file, or a plot of matplotlib's (the module pyplot, or a figure)."""
        if (path is None) == (plot is None):
            raise UserErrorException("log_image takes either path or plot.")
        place = f"{name}_{uuid.uuid4().hex[:8]}.png"
        source: Any = path
        if plot is not None:
            source = io.BytesIO()
            plot.savefig(source, format="png")
            source.seek(0)
        self.upload_file(place, source)
        self._emit("image", name, {"path": place}, description)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix in its JSON form (text or dictionary)."""
        self._emit_json(name, value, description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table in its JSON form (text or dictionary)."""
        self._emit_json(name, value, description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log residuals in their JSON form (text or dictionary)."""
        self._emit_json(name, value, description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions in their JSON form (text or dictionary)."""
        self._emit_json(name, value, description)

    def flush(self, timeout_seconds: int = 300) -> None:
        """Nothing waits here: each call has arrived when it returns."""

    def upload_file(self, name: str, path_or_stream: Any) -> Any:
        """Upload a file; the run's own way of doing so."""
        raise NotImplementedError

    def _emit_json(self, name: str, value: Any, description: str) -> None:
        document = json.loads(value) if isinstance(value, str) else plain(value)
        missing = {"schema_type", "schema_version", "data"} - set(document)
        if missing:
            raise UserErrorException(f"{name} lacks {', '.join(sorted(missing))}.")
        self._emit("json", name, document, description)

    def _emit(
        self, kind: str, name: str, value: Any, description: str | None, step: int | None = None
    ) -> None:
        leave_aside("Run.log", "Metrics have no description here.", description=description)
        if not hasattr(self, "_numbers"):
            # Numbered for each object, so that a batch sent again is known for the same.
            self._source, self._numbers = f"notebook-{uuid.uuid4().hex}", count()
        record = {"name": name, "type": kind, "value": value, "step": step}
        body = {"source": self._source, "first_seq": next(self._numbers), "values": [record]}
        with raised_as(ServiceException):
            self.connection.post(self.connection.path("runs", self.id, "metrics"), body)


def plain(value: Any) -> Any:
    """The value as JSON has it; arrays and numbers of other libraries are unpacked."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # as the API writes it, since JSON has none of them
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(item) for item in value]
    for name in ("tolist", "numpy", "item"):
        convert = getattr(value, name, None)
        if callable(convert):
            return plain(convert())
    return str(value)


_NOT_FINITE = ("nan", "inf", "-inf")


def metrics_of(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics as `get_metrics` gives them: one value, or a list of several; rows as columns."""
    return {item["name"]: _folded(item) for item in items}


def _folded(item: Mapping[str, Any]) -> Any:
    values = [_number(point["value"]) for point in item["points"]]
    if item["type"] in ("row", "table"):
        return _columns(values)
    return values[0] if len(values) == 1 else values


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity: the API writes them as text."""
    if isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    return [_number(item) for item in value] if isinstance(value, list) else value


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(rows) == 1:
        return dict(rows[0])
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return columns
