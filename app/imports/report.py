"""What importing a document would do, part by part: pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.imports.schemas import ImportNote, ImportReport
from app.imports.translation import Translation
from app.kernel.errors import FieldError
from app.runs.schemas import RunCreate

_DEFAULTS = {
    "environment": "No environment is named: a plain Python of this service, without packages.",
    "node_count": "One node.",
    "distribution": "The command is started once on each node.",
    "shm_size": "The shared memory of each node has 2g.",
    "max_run_duration_seconds": "The run may take as long as it takes.",
}


def report_of(
    translation: Translation, run: RunCreate | None, problems: Sequence[FieldError]
) -> ImportReport:
    """Put what is known of a translation into words.

    Args:
        translation: the translation.
        run: the run request, if it is whole.
        problems: what is wrong with the run request, with pointers into the document.
    """
    unsupported = [
        ImportNote(
            kind="unsupported",
            pointer=one.pointer,
            run_pointer=None,
            code=one.code,
            message=one.message,
        )
        for one in [*translation.refused, *problems]
    ]
    return ImportReport(
        is_valid=not unsupported,
        run=None if run is None else run.model_dump(mode="json", exclude_unset=True),
        notes=[
            *unsupported,
            *_left_aside(translation),
            *_defaulted(translation),
            *_translated(translation),
        ],
    )


def _left_aside(translation: Translation) -> Iterator[ImportNote]:
    for one in translation.left_aside:
        yield ImportNote(
            kind="left_aside",
            pointer=translation.sent_at(one.pointer),
            run_pointer=None,
            code=one.code,
            message=one.message,
        )


def _defaulted(translation: Translation) -> Iterator[ImportNote]:
    if translation.refused:
        # What the run lacks may be what was refused: nothing takes its place.
        return
    for name, message in _DEFAULTS.items():
        is_there = name in translation.run
        if name == "environment" and "environment_name" in translation.run:
            is_there = True
        if not is_there:
            yield ImportNote(
                kind="defaulted",
                pointer="",
                run_pointer=f"/{name}",
                code="default_taken",
                message=message,
            )


def _translated(translation: Translation) -> Iterator[ImportNote]:
    for pointer in sorted(translation.origins):
        if not _is_in(translation.run, pointer):
            continue
        yield ImportNote(
            kind="translated",
            pointer=translation.origin_of(pointer),
            run_pointer=pointer,
            code="translated",
            message=f"It became {pointer} of the run.",
        )


def _is_in(document: Any, pointer: str) -> bool:
    """Whether a pointer leads to something that says anything."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return False
    return document not in (None, "", [], {})
