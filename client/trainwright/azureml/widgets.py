"""Progress of a run: live in a notebook, a few lines elsewhere."""

import html
import sys
import threading
from typing import Any

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.core.run import Run
from trainwright.azureml.exceptions import AzureMLException
from trainwright.streams import TERMINAL

_LOG_LINES = 15
_REFRESH_SECONDS = 3.0


class RunDetails:
    """What is going on in a run.

    Args:
        run_instance: the run.
    """

    def __init__(self, run_instance: Run) -> None:
        self._run = run_instance
        self._is_stopped = threading.Event()

    def show(self, render_lib: Any = None, widget_settings: Any = None) -> None:
        """Show it: in a notebook until the run is over, elsewhere as it is now.

        Args:
            render_lib: left aside.
            widget_settings: left aside.
        """
        leave_aside(
            "RunDetails.show", "There is one way to show it.",
            render_lib=render_lib, widget_settings=widget_settings,
        )  # fmt: skip
        display = _notebook_display()
        if display is None:
            print(self.text())
            return
        handle = display.display(display.HTML(self.html()), display_id=True)
        thread = threading.Thread(target=self._keep_current, args=(display, handle), daemon=True)
        thread.start()

    def get_widget_data(self, widget_settings: Any = None) -> dict[str, Any]:
        """What is shown, as data."""
        leave_aside("RunDetails.get_widget_data", "It is whole.", widget_settings=widget_settings)
        return self._seen()

    def stop(self) -> None:
        """Stop showing changes."""
        self._is_stopped.set()

    def text(self) -> str:
        """What is shown in a terminal."""
        seen = self._seen()
        lines = [f"Run {seen['id']} of {seen['experiment']}: {seen['status']}"]
        lines += [f"  waits: {reason}" for reason in seen["waits_for"]]
        lines += [f"  {name} = {value}" for name, value in seen["metrics"].items()]
        lines += [f"  | {line}" for line in seen["log"]]
        return "\n".join(lines)

    def html(self) -> str:
        """What is shown in a notebook."""
        seen = self._seen()
        escape = html.escape
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
            for name, value in seen["metrics"].items()
        )
        waits = "".join(f"<li>{escape(reason)}</li>" for reason in seen["waits_for"])
        log = escape("\n".join(seen["log"]))
        return (
            f"<div><b>Run {escape(seen['id'])}</b> of {escape(seen['experiment'])}: "
            f"<b>{escape(seen['status'])}</b><ul>{waits}</ul><table>{rows}</table>"
            f"<pre>{log}</pre></div>"
        )

    def _keep_current(self, display: Any, handle: Any) -> None:
        is_over = False
        while not is_over and not self._is_stopped.wait(_REFRESH_SECONDS):
            try:
                is_over = self._run.get_status() in TERMINAL
                handle.update(display.HTML(self.html()))
            except AzureMLException:
                # The server is away for a moment; the notebook's own calls say so loudly.
                continue

    def _seen(self) -> dict[str, Any]:
        read = self._run.refresh()
        connection = self._run.connection
        path = connection.path("runs", self._run.id, "logs")
        answer = connection.request("GET", path, params={"tail": _LOG_LINES})
        metrics = self._run.get_metrics()
        return {
            "id": read["id"],
            "experiment": read["experiment_name"],
            "status": read["status"],
            "waits_for": [one["clears_when"] for one in read["blockers"]],
            "metrics": {
                name: value[-1] if isinstance(value, list) and value else value
                for name, value in metrics.items()
            },
            "log": answer.text.splitlines(),
        }


def _notebook_display() -> Any:
    """IPython's display module where this is a notebook; it is imported there already."""
    shell = sys.modules.get("IPython")
    get = getattr(shell, "get_ipython", None)
    if get is None or get() is None or "ZMQ" not in type(get()).__name__:
        return None
    return sys.modules.get("IPython.display")
