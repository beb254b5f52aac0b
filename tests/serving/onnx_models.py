"""Small ONNX models, written field by field: no library of ours reads or writes ONNX.

Field numbers: onnx/onnx.proto.
"""

import struct
from typing import Any

_FLOAT, _STRING = 1, 8


def matrix_product() -> bytes:
    """`y = x · w`: x is float32 [batch, 2], w is [[0, 1, 2], [3, 4, 5]]."""
    values = struct.pack("<6f", 0, 1, 2, 3, 4, 5)
    weights = _number(1, 2) + _number(1, 3) + _number(2, _FLOAT) + _text(8, "w") + _bytes(9, values)
    return _model(
        [_node("MatMul", ["x", "w"], ["y"])],
        inputs=[_tensor("x", _FLOAT, ["batch", 2])],
        outputs=[_tensor("y", _FLOAT, ["batch", 3])],
        initializers=[weights],
    )


def same_texts() -> bytes:
    """`t` is `s`, texts of any number."""
    return _model(
        [_node("Identity", ["s"], ["t"])],
        inputs=[_tensor("s", _STRING, ["batch"])],
        outputs=[_tensor("t", _STRING, ["batch"])],
    )


def _model(
    nodes: list[bytes], *, inputs: list[bytes], outputs: list[bytes], initializers: Any = ()
) -> bytes:
    graph = b"".join(
        _bytes(number, each)
        for number, messages in ((1, nodes), (5, initializers), (11, inputs), (12, outputs))
        for each in messages
    ) + _text(2, "graph")
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 17))


def _node(operator: str, inputs: list[str], outputs: list[str]) -> bytes:
    names = [_text(1, name) for name in inputs] + [_text(2, name) for name in outputs]
    return b"".join(names) + _text(4, operator)


def _tensor(name: str, dtype: int, shape: list[str | int]) -> bytes:
    sizes = [_text(2, size) if isinstance(size, str) else _number(1, size) for size in shape]
    described = _number(1, dtype) + _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _text(1, name) + _bytes(2, _bytes(1, described))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
