"""Keyset pages: opaque tokens that say where the last page ended."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, literal_column, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.kernel.direct import DirectPool
from app.kernel.errors import BadRequest, FieldError
from app.kernel.odd_rows import shown
from app.kernel.orm import MAX_INTEGER
from app.kernel.plain_text import mended

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_MOST_TEXTS = 1000
_texts: dict[Any, str] = {}
"""Texts of statements, by what SQLAlchemy knows the same statement by."""

T = TypeVar("T")
R = TypeVar("R")


class PageQuery(BaseModel):
    """What a client says about the page it wants."""

    page_size: int
    page_token: str


_PageSize = Annotated[
    int, Query(ge=1, description=f"At most so many; over {MAX_PAGE_SIZE} is cut down")
]
_PageToken = Annotated[str, Query(description="next_page_token of the page before")]


async def _page_query(
    page_size: _PageSize = DEFAULT_PAGE_SIZE, page_token: _PageToken = ""
) -> PageQuery:
    return PageQuery(page_size=min(page_size, MAX_PAGE_SIZE), page_token=page_token)


async def _long_page_query(
    page_size: _PageSize = MAX_PAGE_SIZE, page_token: _PageToken = ""
) -> PageQuery:
    return await _page_query(page_size, page_token)


PageDep = Annotated[PageQuery, Depends(_page_query)]
LongPageDep = Annotated[PageQuery, Depends(_long_page_query)]
"""Of a list that a release had without pages: who knows of none gets as much as a page holds."""


class Page(BaseModel, Generic[T]):
    """A page; the end is where ``next_page_token`` is empty."""

    items: list[T]
    next_page_token: str = Field(default="", description="Empty on the last page")
    left_out: list[str] = Field(
        default=[],
        description="Names, or ids, of what belongs here and cannot be shown, as its row was "
        "changed by hand or by another release; operators find it in the log",
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the schema of a page of runs RunReadPage, for generated clients."""
        return f"{params[0].__name__}Page"

    @classmethod
    def of(
        cls,
        rows: Sequence[R],
        read: Callable[[R], T],
        following: str,
        *,
        table: str = "",
        name_of: Callable[[R], str] | None = None,
    ) -> "Page[T]":
        """The page of these rows; those that are odd are left out, and named.

        Args:
            rows: of the page.
            read: makes an item of a row.
            following: token of the next page.
            table: whose rows they are; empty: of a mapped class, which says so.
            name_of: what a row is called; None: it has a name or an id.
        """
        if rows and not table:
            table = type(rows[0]).__tablename__  # type: ignore[attr-defined]
        items, left_out = shown(rows, read, table=table, name_of=name_of or _name_of)
        return Page(items=items, next_page_token=following, left_out=left_out)


def _name_of(row: Any) -> str:
    return str(getattr(row, "name", None) or row.id)


async def fetch_page(
    session: AsyncSession,
    statement: Select[Any],
    *,
    keys: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]],
    page: PageQuery,
    key_of: Callable[[R], Sequence[Any]],
    descending: bool = False,
    scalars: bool = True,
) -> tuple[list[R], str]:
    """Run ``statement`` for one page.

    Args:
        session: the transaction to read in.
        statement: the query with its filters, without order and limit.
        keys: columns that order the rows, together unique: numbers, texts or moments.
        page: what the client asked for.
        key_of: the values of ``keys`` for a row.
        descending: newest first.
        scalars: whether a row is one entity, else a tuple.

    Returns:
        The rows and the token of the next page, empty at the end.

    Raises:
        BadRequest: the token is not one of this listing.
    """
    statement, binding = _paged(statement, keys, page, descending=descending)
    result = await session.execute(statement)
    rows = list(result.scalars() if scalars else result)
    return cut_page(rows, page, key_of, binding)


async def fetch_page_directly(
    direct: DirectPool,
    statement: Select[Any],
    *,
    keys: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]],
    page: PageQuery,
    key_of: Callable[[Any], Sequence[Any]],
    descending: bool = False,
) -> tuple[list[Any], str]:
    """The same on a connection for hot paths; rows are records by column name."""
    statement, binding = _paged(statement, keys, page, descending=descending)
    # No parameter: where the limit is one, the database plans anew for every page.
    statement = statement.limit(literal_column(str(page.page_size + 1)))
    return cut_page(await direct.select(statement), page, key_of, binding)


def page_of(
    items: Iterable[T],
    page: PageQuery,
    *,
    key_of: Callable[[T], Sequence[Any]],
    listing: str,
    descending: bool = False,
) -> Page[T]:
    """One page of a list that is at hand as a whole, because its rows hold it or it is short.

    Args:
        items: the whole list.
        page: what the client asked for.
        key_of: what orders the items, together unique; texts and numbers.
        listing: names the list, so that a token of another one is refused.
        descending: the highest key first.

    Raises:
        BadRequest: the token is not one of this listing.
    """
    binding = binding_of_listing(listing)
    ordered = sorted(items, key=lambda item: list(key_of(item)), reverse=descending)
    after = keys_after(page, binding)
    if after is not None:
        try:
            ordered = [
                item
                for item in ordered
                if (list(key_of(item)) < after if descending else list(key_of(item)) > after)
            ]
        except TypeError:
            raise bad_token() from None
    rows, following = cut_page(ordered[: page.page_size + 1], page, key_of, binding)
    return Page(items=rows, next_page_token=following)


def _paged(
    statement: Select[Any],
    keys: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]],
    page: PageQuery,
    *,
    descending: bool,
) -> tuple[Select[Any], str]:
    binding = binding_of(statement)
    after = keys_after(page, binding)
    if after is not None:
        if len(after) != len(keys) or not all(map(_fits, after, keys)):
            raise bad_token()
        left, right = tuple_(*keys), tuple_(*map(_value, after, keys))
        statement = statement.where(left < right if descending else left > right)
    order = [key.desc() if descending else key.asc() for key in keys]
    return statement.order_by(*order).limit(page.page_size + 1), binding


def _fits(value: Any, key: ColumnElement[Any] | InstrumentedAttribute[Any]) -> bool:
    """Whether a value of a token, which anybody can make up, can be compared with a column."""
    kind = key.type.python_type
    if isinstance(value, str) and kind is datetime:
        return moment_of(value) is not None
    if isinstance(value, str):
        return kind is str and mended(value) == value
    if isinstance(value, float):
        return kind is float
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return is_integer and abs(value) <= MAX_INTEGER and kind in (int, float)


def _value(value: Any, key: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Any:
    return moment_of(value) if key.type.python_type is datetime else value


def moment_of(text: str) -> datetime | None:
    """The moment, in UTC, that a key of a token is; None: it is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def cut_page(
    rows: list[R], page: PageQuery, key_of: Callable[[R], Sequence[Any]], binding: str
) -> tuple[list[R], str]:
    """The rows of a page, of which there may be one too many, and the token of the next."""
    if len(rows) <= page.page_size:
        return rows, ""
    rows = rows[: page.page_size]
    return rows, _encode(list(key_of(rows[-1])), binding)


def binding_of(statement: Select[Any]) -> str:
    """What tokens of a listing are bound to: the text of its statement, and its values."""
    found = statement._generate_cache_key()
    assert found is not None
    text = _texts.get(found.key)
    if text is None:
        # Writing it out takes longer than running it.
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        text = _texts[found.key] = statement.compile().string
    values = json.dumps([parameter.value for parameter in found.bindparams], default=str)
    return binding_of_listing(f"{text}{values}")


def binding_of_listing(listing: str) -> str:
    """What tokens are bound to of a listing that these words tell from all others."""
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


def _encode(values: list[Any], binding: str) -> str:
    text = json.dumps([binding, *values], default=str)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def keys_after(page: PageQuery, binding: str) -> list[Any] | None:
    """The keys that a page comes after; None: it is the first one.

    Raises:
        BadRequest: the token is not one of this listing.
    """
    if not page.page_token:
        return None
    token = page.page_token
    try:
        padded = token + "=" * (-len(token) % 4)
        decoded = json.loads(base64.urlsafe_b64decode(padded.encode()))
    except (ValueError, binascii.Error, UnicodeDecodeError, RecursionError):
        decoded = None
    found, *values = decoded if isinstance(decoded, list) and decoded else [None]
    if found != binding or not values:
        raise bad_token()
    return list(values)


def bad_token() -> BadRequest:
    """What a token that is none of the listing is answered with."""
    message = "Not a token of this listing with these filters; start again without it."
    return BadRequest(message, errors=[FieldError("query/page_token", "bad_page_token", message)])
