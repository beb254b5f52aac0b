"""The filter language itself: whatever is written in it is read back as it was meant."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.mlflow.errors import InvalidParameter
from app.mlflow.search.grammar import Comparison, Name, parse_filter, parse_order

ENTITIES = st.sampled_from(["metric", "param", "tag", "attribute", "dataset"])
PREFIXES = {
    "metric": ["metric", "metrics"],
    "param": ["param", "params", "parameter", "parameters"],
    "tag": ["tag", "tags"],
    "attribute": ["attribute", "attributes", "attr", "run"],
    "dataset": ["dataset", "datasets"],
}
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
KEYS = TEXTS.filter(lambda text: text and "`" not in text)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, quote * 2) + quote


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[str, Comparison]:
    """Return a condition as it is written, and what it means."""
    entity, key = draw(ENTITIES), draw(KEYS)
    quote = draw(st.sampled_from("'\""))
    name = f"{draw(st.sampled_from(PREFIXES[entity]))}.`{key}`"
    operator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "LIKE", "IN", "IS NULL"]))
    spelled = draw(st.sampled_from([operator, operator.lower()]))
    meant = Name(entity, key)
    if operator == "IS NULL":
        return f"{name} {spelled}", Comparison(meant, operator, None)
    if operator == "IN":
        values = tuple(draw(st.lists(TEXTS, min_size=1, max_size=3)))
        listed = ", ".join(quoted(value, quote) for value in values)
        return f"{name} {spelled} ({listed})", Comparison(meant, operator, values)
    if operator == "LIKE" or draw(st.booleans()):
        text = draw(TEXTS)
        return f"{name} {spelled} {quoted(text, quote)}", Comparison(meant, operator, text)
    number = draw(NUMBERS)
    return f"{name} {spelled} {number!r}", Comparison(meant, operator, number)


@given(
    st.lists(comparisons(), min_size=1, max_size=4), st.sampled_from([" AND ", " and ", "\nAnd "])
)
def test_conditions_are_read_back(made: list[tuple[str, Comparison]], joint: str) -> None:
    text = joint.join(written for written, _ in made)
    assert parse_filter(text) == [meant for _, meant in made]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidParameter):
        parse_filter(text)
    with suppress(InvalidParameter):
        parse_order([text])


@given(ENTITIES, KEYS, st.sampled_from([None, "ASC", "asc", "DESC", "desc"]))
def test_orders_are_read_back(entity: str, key: str, direction: str | None) -> None:
    clause = f"{PREFIXES[entity][0]}.`{key}`" + (f" {direction}" if direction else "")
    (order,) = parse_order([clause])
    assert order.name == Name(entity, key)
    assert order.is_descending == (direction in ("DESC", "desc"))


@pytest.mark.parametrize("key", ["order", "android", "in", "null", "desc", "like", "a.b-c/d"])
def test_words_of_the_language_are_names_too(key: str) -> None:
    (found,) = parse_filter(f"tags.{key} = 'x'")
    assert found.name == Name("tag", key)


def test_a_name_may_begin_like_a_word_of_the_language() -> None:
    (found,) = parse_filter("android = 'x'")
    assert found.name == Name("attribute", "android")


@pytest.mark.parametrize("joint", [" AND ", " and ", "\tAND\n"])
def test_joined_filters_may_be_empty(joint: str) -> None:
    parts = ["", "tags.a = 'x'", "", "", "tags.b = 'y'", ""]
    assert [found.name.key for found in parse_filter(joint.join(parts))] == ["a", "b"]
    assert parse_filter(joint) == []


@pytest.mark.parametrize("text", ["tags.a = 'x' tags.b = 'y'", "tags.a AND tags.b = 'y'", "OR"])
def test_what_is_not_joined_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="Could not be parsed"):
        parse_filter(text)


def test_a_filter_without_end_is_refused_at_once() -> None:
    with pytest.raises(InvalidParameter, match="50 conditions"):
        parse_filter(" AND ".join(["metrics.a>0"] * 51))
    with pytest.raises(InvalidParameter, match="characters long"):
        parse_filter("metrics.a > 1 AND " * 10_000)
