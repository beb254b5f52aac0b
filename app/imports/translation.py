"""What a translation gives, and how its errors point into the document that was sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from app.kernel.errors import DomainError, FieldError, Invalid, invalid_field

JOB = "/job"
_ABSENT = object()


class Sent(BaseModel):
    """A part of a document of Azure's: camelCase names; what is not declared stays visible."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True)

    def refuse_unknown(self, pointer: str, *, ignored: frozenset[str]) -> None:
        """Refuse fields that say something and that nobody here understands.

        Args:
            pointer: where this part is.
            ignored: names that mean nothing here whatever they hold.

        Raises:
            Invalid: there is such a field.
        """
        for name, value in (self.model_extra or {}).items():
            if name not in ignored and value not in (None, "", False, [], {}):
                message = f"{name!r} has no counterpart here; remove it or set it to null."
                raise invalid_field(below(pointer, name), "import_unsupported", message)

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


@dataclass
class Translation:
    """A run request made of a document.

    Attributes:
        run: the fields of a run request, not checked yet.
        origins: pointers into ``run`` and the places in the document that they come from.
        warnings: what was left aside, ``{"code", "message"}``.
    """

    run: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)

    def put(self, name: str, value: Any, origin: str) -> None:
        """Set a field of the run and say where it comes from."""
        self.run[name] = value
        self.origins[f"/{name}"] = origin

    def warn(self, code: str, message: str) -> None:
        """Say what was left aside."""
        self.warnings.append({"code": code, "message": message})

    def origin_of(self, pointer: str) -> str:
        """The place in the document that a field of the run comes from."""
        head = pointer
        while head:
            if head in self.origins:
                return self.origins[head]
            head = head.rpartition("/")[0]
        return JOB if pointer in ("", "/") else pointer

    def retarget(self, error: DomainError) -> None:
        """Make an error about the run point into the document."""
        error.errors = tuple(
            FieldError(self.origin_of(one.pointer), one.code, one.message) for one in error.errors
        )


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
    first = next(iter(fields.values()))
    return Invalid(f"{first.pointer or '/'}: {first.message}", errors=list(fields.values()))


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
