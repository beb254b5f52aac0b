"""What a translation gives, and how its errors point into the document that was sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from app.kernel.errors import DomainError, FieldError, Invalid

JOB = "/job"
_ABSENT = object()


@dataclass(frozen=True)
class LeftAside:
    """Something in the document that says nothing here, or not the same.

    Attributes:
        pointer: where it is in the document.
        code: stable snake_case code.
        message: what became of it, for a person.
        is_warning: whether the run's owner has to know.
    """

    pointer: str
    code: str
    message: str
    is_warning: bool


@dataclass
class Translation:
    """A run request made of a document.

    Attributes:
        run: the fields of a run request, not checked yet.
        origins: pointers into ``run`` and the places in the document that they come from.
        left_aside: what was not taken over though it stands in the document.
        refused: what has no counterpart here; while there is any, ``run`` is not whole.
        moved: places in the document as it was sent, by the place that the translation knows.
    """

    run: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    left_aside: list[LeftAside] = field(default_factory=list)
    refused: list[FieldError] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[dict[str, str]]:
        """What the run's owner has to know, as runs show it."""
        return [
            {"code": one.code, "message": one.message, "pointer": self.sent_at(one.pointer)}
            for one in self.left_aside
            if one.is_warning
        ]

    def put(self, name: str, value: Any, origin: str) -> None:
        """Set a field of the run and say where it comes from."""
        self.run[name] = value
        self.origins[f"/{name}"] = origin

    def warn(self, pointer: str, code: str, message: str) -> None:
        """Say what was left aside, or taken over as something else."""
        self.left_aside.append(LeftAside(pointer, code, message, is_warning=True))

    def refuse(self, pointer: str, code: str, message: str) -> None:
        """Say what cannot be taken over; the translation goes on, to find all of it."""
        self.refused.append(FieldError(pointer, code, message))

    def sort_out(self, part: "Sent", pointer: str, *, ignored: frozenset[str]) -> None:
        """Refuse fields that say something and that nobody here understands.

        Args:
            part: a part of the document.
            pointer: where it is.
            ignored: names that mean nothing here whatever they hold.
        """
        for name, value in (part.model_extra or {}).items():
            if value in (None, "", False, [], {}):
                continue
            where = below(pointer, name)
            if name in ignored:
                message = f"{name!r} changes nothing here."
                self.left_aside.append(LeftAside(where, "azure_only", message, is_warning=False))
            else:
                message = "This has no counterpart here; remove it or set it to null."
                self.refuse(where, "import_unsupported", message)

    def origin_of(self, pointer: str) -> str:
        """The place in the document, as it was sent, that a field of the run comes from."""
        head = pointer
        while head:
            if head in self.origins:
                return self.sent_at(self.origins[head])
            head = head.rpartition("/")[0]
        return JOB if pointer in ("", "/") else pointer

    def sent_at(self, pointer: str) -> str:
        """Where in the request something is that the translation found elsewhere."""
        head, tail = pointer, ""
        while head:
            if head in self.moved:
                return self.sent_at(self.moved[head] + tail)
            head, _, last = head.rpartition("/")
            tail = f"/{last}{tail}"
        return pointer

    def retarget(self, error: DomainError) -> None:
        """Make an error about the run point into the document."""
        error.errors = tuple(
            FieldError(self.origin_of(one.pointer), one.code, one.message) for one in error.errors
        )


class Sent(BaseModel):
    """A part of a document of Azure's: camelCase names; what is not declared stays visible."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True)

    @classmethod
    def read(cls, value: object, pointer: str) -> Self:
        """Read a part of the document.

        Raises:
            Invalid: it has not the form that it should have; pointers are those of the document.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise invalid_at(error, value, pointer) from None


def below(pointer: str, *names: str | int) -> str:
    """The pointer of something inside what ``pointer`` names."""
    tail = (str(name).replace("~", "~0").replace("/", "~1") for name in names)
    return "/".join([pointer, *tail])


def invalid_at(error: ValidationError, document: object, pointer: str) -> Invalid:
    """Pydantic's findings as an error of the API, without the values, which may be secret."""
    fields: dict[str, FieldError] = {}
    for one in error.errors(include_url=False, include_input=False):
        place = _place(document, one["loc"], is_missing=one["type"] == "missing")
        where = below(pointer, *place)
        message = str(one["msg"]).removeprefix("Value error, ")
        fields.setdefault(where, FieldError(where, str(one["type"]), message))
    return invalid(list(fields.values()))


def invalid(fields: Sequence[FieldError]) -> Invalid:
    """One error about several fields, at least one."""
    first = fields[0]
    return Invalid(f"{first.pointer or '/'}: {first.message}", errors=fields)


def _place(
    document: object, location: Sequence[str | int], *, is_missing: bool
) -> Iterator[str | int]:
    """The parts of a location that are in the document: branches of a union are named as well."""
    for part in location:
        inside = _inside(document, part)
        if inside is not _ABSENT:
            document = inside
        elif not (is_missing and part == location[-1]):
            continue
        yield part


def _inside(document: object, part: str | int) -> object:
    if isinstance(document, dict):
        return document.get(part, _ABSENT)
    if isinstance(document, list) and isinstance(part, int) and part < len(document):
        return document[part]
    return _ABSENT
