"""Pages of lists that are at hand."""

import pytest

from app.kernel.errors import BadRequest
from app.kernel.pagination import PageQuery, page_of


def pages(items: list[int], *, size: int, descending: bool = False) -> list[list[int]]:
    found, token = [], ""
    while True:
        page = page_of(
            items,
            PageQuery(page_size=size, page_token=token),
            key_of=lambda item: [item],
            listing="numbers",
            descending=descending,
        )
        found.append(page.items)
        token = page.next_page_token
        if not token:
            return found


def test_pages_are_the_list_in_order() -> None:
    assert pages([3, 1, 2], size=2) == [[1, 2], [3]]
    assert pages([3, 1, 2], size=2, descending=True) == [[3, 2], [1]]
    assert pages([3, 1, 2], size=3) == [[1, 2, 3]]
    assert pages([], size=3) == [[]]


def test_a_page_goes_on_though_the_item_before_has_gone() -> None:
    query = PageQuery(page_size=1, page_token="")
    first = page_of([1, 2, 3], query, key_of=lambda item: [item], listing="numbers")
    query = PageQuery(page_size=1, page_token=first.next_page_token)
    assert page_of([2, 3], query, key_of=lambda item: [item], listing="numbers").items == [2]


@pytest.mark.parametrize("listing", ["others", "numbers"])
def test_a_token_of_another_list_is_refused(listing: str) -> None:
    words = page_of(
        ["a", "b"],
        PageQuery(page_size=1, page_token=""),
        key_of=lambda item: [item],
        listing="numbers",
    )
    query = PageQuery(page_size=1, page_token=words.next_page_token)
    with pytest.raises(BadRequest) as refused:
        page_of([1, 2], query, key_of=lambda item: [item], listing=listing)
    assert refused.value.errors[0].code == "bad_page_token"
