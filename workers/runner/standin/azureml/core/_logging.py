"""The `log…` calls, the same for a run and for a script outside of one."""

import io
import json

from azureml.core._values import plain


class MetricLogging(object):
    """Checks and converts what is logged; `_emit` says where it goes."""

    def _emit(self, kind, name, value, step=None):
        raise NotImplementedError

    def _emit_image(self, name, path, data):
        raise NotImplementedError

    def log(self, name, value, description="", step=None):
        """Log a number or a text; the same name again makes a list of values."""
        value = plain(value)
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, (int, float)):
            self._emit("scalar", name, value, step)
        elif isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], (int, float)):
                self._emit("scalar", name, value[0], step)
            else:
                self._emit("list", name, value, step)
        else:
            self._emit("string", name, value if isinstance(value, str) else str(value), step)

    def log_list(self, name, value, description=""):
        """Log a list of values."""
        self._emit("list", name, [plain(item) for item in value])

    def log_row(self, name, description=None, **kwargs):
        """Log one row, given by column; rows of one name make a table."""
        self._emit("row", name, plain(kwargs))

    def log_table(self, name, value, description=""):
        """Log a table: a dictionary of columns."""
        self._emit("table", name, plain(dict(value)))

    def log_image(self, name, path=None, plot=None, description=""):
        """Log an image: a file, or a matplotlib plot (the module pyplot or a figure)."""
        if (path is None) == (plot is None):
            raise ValueError("log_image takes either path or plot")
        data = None
        if plot is not None:
            buffer = io.BytesIO()
            plot.savefig(buffer, format="png")
            data = buffer.getvalue()
        self._emit_image(name, path, data)

    def log_confusion_matrix(self, name, value, description=""):
        """Log a confusion matrix in its JSON form (text or dictionary)."""
        self._emit_json(name, value)

    def log_accuracy_table(self, name, value, description=""):
        """Log an accuracy table in its JSON form (text or dictionary)."""
        self._emit_json(name, value)

    def log_residuals(self, name, value, description=""):
        """Log residuals in their JSON form (text or dictionary)."""
        self._emit_json(name, value)

    def log_predictions(self, name, value, description=""):
        """Log predictions in their JSON form (text or dictionary)."""
        self._emit_json(name, value)

    def _emit_json(self, name, value):
        document = json.loads(value) if isinstance(value, str) else plain(value)
        missing = {"schema_type", "schema_version", "data"} - set(document)
        if missing:
            raise ValueError("{} lacks {}".format(name, ", ".join(sorted(missing))))
        self._emit("json", name, document)
