"""What is written where: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from trainwright.texts import clean, plain

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, as the API gives it.")]
_WIDE = 10_000
_STYLES = {
    "Completed": "green",
    "Healthy": "green",
    "Running": "cyan",
    "Failed": "red",
    "Unhealthy": "red",
    "Canceled": "yellow",
}


def console() -> Console:
    """Standard output; without a terminal lines are not cut or folded."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(highlight=False, markup=False, emoji=False, width=width)


class _ErrorConsole(Console):
    def on_broken_pipe(self) -> None:
        """Go on without: what the command does is not for whoever reads beside it."""
        self.quiet = True


def error_console() -> Console:
    """Standard error."""
    return _ErrorConsole(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(text: str, *, style: str = "") -> None:
    """Tell the user, beside the result."""
    error_console().print(plain(text, style))


def print_json(value: Any) -> None:
    """A result for programs; escaped to ASCII, so that a terminal shows it as it is."""
    typer.echo(json.dumps(value, indent=2))


def print_record(value: Any) -> None:
    """A record of a stream for programs: one line."""
    typer.echo(json.dumps(value))
    sys.stdout.flush()


def print_line(text: str) -> None:
    """A line of a result, made harmless; at once."""
    typer.echo(clean(text))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under their titles."""
    is_terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not is_terminal)
    for row in rows:
        table.add_row(*map(_cell, row))
    console().print(table)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one below the other; what is empty is left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value not in (None, "", [], {}):
            table.add_row(Text(name), _cell(value))
    console().print(table)


def age(moment: str | None) -> str:
    """How long ago a time of the API's is, in the largest unit."""
    if not moment:
        return ""
    return duration((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def between(start: str | None, end: str | None) -> str:
    """How long something took; up to now where it has no end."""
    if not start:
        return ""
    last = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return duration((last - datetime.fromisoformat(start)).total_seconds())


def duration(seconds: float) -> str:
    """Seconds, minutes, hours and days, two of them."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02}s"
    if left < 86_400:
        return f"{left // 3600}h{left % 3600 // 60:02}m"
    return f"{left // 86_400}d{left % 86_400 // 3600:02}h"


def size(count: int | None) -> str:
    """Bytes in a readable unit."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def number(value: Any) -> str:
    """A value of a metric, short."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value if isinstance(value, str) or value is None else json.dumps(value))[:60]
    # Python formats no whole number that no float holds.
    is_huge = isinstance(value, int) and abs(value) > sys.float_info.max
    return f"{Decimal(value).normalize() if is_huge else value:.6g}"


def bytes_progress() -> Progress:
    """A bar for bytes; nothing where standard error is no terminal."""
    errors = error_console()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=errors,
        disable=not errors.is_terminal,
        transient=True,
        redirect_stdout=False,
    )


def _cell(value: Any) -> Text:
    text = clean(value)
    return Text(text, style=_STYLES.get(text, ""))
