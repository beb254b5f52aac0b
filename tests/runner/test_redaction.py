"""The values of secrets never leave a node, in whatever pieces and spellings they come."""

import base64
import json
import random
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.runner.redaction import RedactedFlow, Redactor

VALUE = 'pässword+with/"all"\\of it\u20ac~!'
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"


def redactor(**values: bytes) -> Redactor:
    made = Redactor()
    for name, value in values.items():
        made.learn(name, value)
    return made


def flowed(pieces: list[bytes], **values: bytes) -> bytes:
    flow = RedactedFlow(redactor(**values))
    return b"".join([*(flow.feed(piece) for piece in pieces), flow.flush()])


@pytest.mark.parametrize(
    "spelling",
    [
        VALUE,
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False)[1:-1],
        repr(VALUE)[1:-1],
        quote(VALUE, safe=""),
        quote(VALUE),
        quote_plus(VALUE),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
        base64.b64encode(VALUE.encode()).decode().rstrip("=")[:-1],
        base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("=")[:-1],
    ],
)
def test_a_spelling_is_redacted(spelling: str) -> None:
    found = redactor(KEY=VALUE.encode()).redact(f"before {spelling} after\n".encode())
    assert found.startswith(b"before [secret KEY]")
    assert found.endswith(b" after\n")


@given(st.binary(max_size=5), st.binary(min_size=9, max_size=60), st.binary(max_size=5))
def test_a_value_inside_of_something_in_base64_is_redacted(
    before: bytes, value: bytes, after: bytes
) -> None:
    encoded = base64.b64encode(before + value + after)
    if len(value.strip()) < 9:
        return
    assert b"[secret KEY]" in redactor(KEY=value).redact(encoded)


def test_each_line_of_a_key_is_redacted() -> None:
    made = redactor(KEY=KEY.encode())
    assert made.redact(b"line: hkiG9w0BAQEFAASC!\n") == b"line: [secret KEY]!\n"
    assert made.redact(b"-----BEGIN PRIVATE KEY-----\n") == b"-----BEGIN PRIVATE KEY-----\n"
    assert made.redact(KEY.encode()) == b"[secret KEY]\n"


def test_very_short_values_are_left_alone() -> None:
    assert redactor(KEY=b"yes").redact(b"yes, yes") == b"yes, yes"


@given(
    st.lists(st.sampled_from([b"abcd", b"abcdef", b"cdefg", b"ab", b"x", b"\n", b"efg"])),
    st.lists(st.integers(1, 4)),
)
def test_no_cut_lets_a_value_through(words: list[bytes], cuts: list[int]) -> None:
    """However the bytes are cut, what comes out is what came out of them in one piece."""
    text = b"".join(words)
    pieces, rest = [], text
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    values = {"SHORT": b"abcd", "LONG": b"abcdef", "OTHER": b"cdefg"}
    whole = redactor(**values).redact(text)
    assert flowed([*pieces, rest], **values) == whole
    assert not any(value in whole for value in values.values())


def test_what_cannot_become_a_value_goes_on_at_once() -> None:
    flow = RedactedFlow(redactor(KEY=b"hunter2-hunter2"))
    assert flow.feed(b"step 1\n") == b"step 1\n"
    assert flow.feed(b"it is hunter2-h") == b"it is "
    assert flow.feed(b"is a name\n") == b"hunter2-his a name\n"


def test_documents_are_redacted_in_texts_and_names() -> None:
    made = redactor(KEY=b"hunter2!")
    document = {"a hunter2!": ["x", 1, None, {"b": "hunter2!"}], "n": 2.5}
    assert made.redact_document(document) == {
        "a [secret KEY]": ["x", 1, None, {"b": "[secret KEY]"}],
        "n": 2.5,
    }


def test_redaction_does_not_hold_up_a_talkative_script() -> None:
    """Many megabytes in less time than they take to be shipped."""
    made = random.Random(5)
    values = {f"K{n}": made.randbytes(3000).hex().encode() for n in range(20)}
    flow = RedactedFlow(redactor(**values))
    line = b"epoch 12: loss=0.125 accuracy=0.9 learning_rate=0.001 and so on and on\n" * 900
    began = time.process_time()
    for _ in range(40):
        flow.feed(line)
    megabytes = 40 * len(line) / 1e6
    assert (time.process_time() - began) / megabytes < 0.2
