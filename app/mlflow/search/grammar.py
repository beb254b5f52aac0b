"""MLflow's filter language and its order clauses, parsed by a grammar.

The language (MLflow's documentation, "Search Runs"): comparisons joined by AND; on the left a name
such as ``metrics.acc``, ``params."my key"``, ``tags.`mlflow.user` `` or the plain name of an
attribute; on the right a number, a quoted text or a list of quoted texts. An AND that joins nothing
is passed over: scripts join filters of which some are empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import VisitError

from app.mlflow.errors import InvalidParameter

_GRAMMAR = r"""
filter: _AND* (comparison (_AND+ comparison)* _AND*)?
order: name DIRECTION?

comparison: name OPERATOR value       -> compare
    | name LIKE value                 -> compare
    | name "IN"i texts                -> is_in
    | name "NOT"i "IN"i texts         -> is_not_in
    | name "IS"i "NULL"i              -> is_null
    | name "IS"i "NOT"i "NULL"i       -> is_not_null

value: STRING | NUMBER | NAME
texts: "(" (STRING | NUMBER | COMMA)* ")"
name: NAME

_AND.1: /AND\b/i
OPERATOR: "!=" | "<=" | ">=" | "=" | "<" | ">"
LIKE: "LIKE"i | "ILIKE"i | "RLIKE"i
DIRECTION: "ASC"i | "DESC"i
COMMA: ","
NAME: /(`[^`]+`|[A-Za-z_]\w*)(\.(`[^`]+`|"[^"]+"|'[^']+'|[\w\-\/:@]+(\.[\w\-\/:@]+)*))?/
STRING: /'([^']|'')*'|"([^"]|"")*"/
NUMBER: /[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
%ignore /\s+/
"""

_ENTITIES = {
    "metric": "metric", "metrics": "metric",
    "parameter": "param", "parameters": "param", "param": "param", "params": "param",
    "tag": "tag", "tags": "tag",
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
LONGEST_FILTER = 10_000
MOST_CONDITIONS = 50
"""Each may be a join."""


@dataclass(frozen=True)
class Name:
    """What is compared or ordered by.

    Attributes:
        entity: metric, param, tag, attribute or dataset.
        key: which one.
    """

    entity: str
    key: str


@dataclass(frozen=True)
class Comparison:
    """One condition.

    Attributes:
        name: the left side.
        operator: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``LIKE``, ``ILIKE``, ``IN``,
            ``NOT IN``, ``IS NULL`` or ``IS NOT NULL``.
        value: a number, a text, a tuple of texts, or None.
    """

    name: Name
    operator: str
    value: float | str | tuple[str, ...] | None


@dataclass(frozen=True)
class Order:
    """One part of an order."""

    name: Name
    is_descending: bool


class _Reader(Transformer[Token, Any]):
    def filter(self, items: list[Comparison]) -> list[Comparison]:
        return items

    def order(self, items: list[Any]) -> Order:
        is_descending = len(items) > 1 and str(items[1]).upper() == "DESC"
        return Order(items[0], is_descending)

    def compare(self, items: list[Any]) -> Comparison:
        name, operator, value = items
        return Comparison(name, str(operator).upper(), value)

    def is_in(self, items: list[Any]) -> Comparison:
        return Comparison(items[0], "IN", items[1])

    def is_not_in(self, items: list[Any]) -> Comparison:
        return Comparison(items[0], "NOT IN", items[1])

    def is_null(self, items: list[Any]) -> Comparison:
        return Comparison(items[0], "IS NULL", None)

    def is_not_null(self, items: list[Any]) -> Comparison:
        return Comparison(items[0], "IS NOT NULL", None)

    def value(self, items: list[Token]) -> float | str:
        (token,) = items
        if token.type == "NAME":
            raise InvalidParameter(
                "Expected a quoted string value, or a number. Parameter value is either not quoted "
                f"or unidentified quote types used for string value {token}. Use either single or "
                "double quotes."
            )
        return float(token) if token.type == "NUMBER" else _unquoted(token)

    def texts(self, items: list[Token]) -> tuple[str, ...]:
        begin = "While parsing a list in the query, expected"
        if not items:
            raise InvalidParameter(f"{begin} a non-empty list of string values, but got empty list")
        if any(item.type == "NUMBER" for item in items):
            raise InvalidParameter(
                f"{begin} string value, or punctuation, but got different type in list"
            )
        texts, commas = items[::2], items[1::2]
        if any(item.type != "STRING" for item in texts) or any(
            item.type != "COMMA" for item in commas
        ):
            raise InvalidParameter(
                f"{begin} a non-empty list of string values, but got ill-formed list"
            )
        return tuple(map(_unquoted, texts))

    def name(self, items: list[Token]) -> Name:
        first, dot, rest = _split(str(items[0]))
        if not dot:
            return Name("attribute", first)
        if first not in _ENTITIES:
            raise InvalidParameter(
                f"Invalid entity type '{first}'. Valid values are "
                "['metric', 'parameter', 'tag', 'attribute', 'dataset']"
            )
        return Name(_ENTITIES[first], rest)


def parse_filter(text: str | None, *, what: str = "clause(s) in filter string") -> list[Comparison]:
    """The conditions of a filter, all of which must hold.

    Args:
        text: as the client sent it; None or blank: no condition.
        what: what is called invalid where it is no filter.

    Raises:
        InvalidParameter: it is not of the language; the message shows the place.
    """
    if text is None or not text.strip():
        return []
    if len(text) > LONGEST_FILTER:
        raise InvalidParameter(f"The filter is over {LONGEST_FILTER} characters long.")
    found: list[Comparison] = _parse(text, "filter", what + ":")
    if len(found) > MOST_CONDITIONS:
        raise InvalidParameter(f"The filter has more than {MOST_CONDITIONS} conditions.")
    return found


def parse_order(clauses: Sequence[str]) -> list[Order]:
    """The parts of an order.

    Raises:
        InvalidParameter: one of them is not of the language.
    """
    return [_parse(clause, "order", "order_by clause") for clause in clauses]


@lru_cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start=["filter", "order"], maybe_placeholders=False)


def _parse(text: str, start: str, what: str) -> Any:
    try:
        return _Reader().transform(_parser().parse(text, start=start))
    except UnexpectedInput as error:
        place = error.get_context(text, span=30).strip("\n")
        raise InvalidParameter(
            f"Invalid {what} {text!r}. Could not be parsed: it cannot go on like this:\n{place}"
        ) from error
    except VisitError as error:
        if isinstance(error.orig_exc, InvalidParameter):
            raise error.orig_exc from error
        raise


def _split(name: str) -> tuple[str, str, str]:
    if name.startswith("`"):
        end = name.index("`", 1) + 1
        first, rest = name[:end], name[end:]
        return first[1:-1], rest[:1], _without_quotes(rest[1:])
    first, dot, rest = name.partition(".")
    return first, dot, _without_quotes(rest)


def _without_quotes(key: str) -> str:
    return key[1:-1] if key[:1] in ("`", '"', "'") else key


def _unquoted(token: Token) -> str:
    quote = token[0]
    return str(token[1:-1]).replace(quote * 2, quote)
