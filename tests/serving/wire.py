"""Writes the protocol-buffer bytes of a SavedModel by hand, so that no TensorFlow is needed."""

FLOAT, INT32, STRING, INT64 = 1, 3, 7, 9


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value % (1 << 64))


def message(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def entry(field: int, key: str, value: bytes) -> bytes:
    return message(field, message(1, key.encode()) + message(2, value))


def tensor(dtype: int, shape: list[int] | None) -> bytes:
    if shape is None:
        dims = number(3, 1)
    else:
        dims = b"".join(message(2, number(1, size) if size else b"") for size in shape)
    return message(1, b"graph_name:0") + number(2, dtype) + message(3, dims)


def signature(inputs: dict[str, bytes], outputs: dict[str, bytes]) -> bytes:
    parts = [entry(1, name, data) for name, data in inputs.items()]
    parts += [entry(2, name, data) for name, data in outputs.items()]
    return b"".join(parts) + message(3, b"tensorflow/serving/predict")


def saved_model(signatures: dict[str, bytes], *, tags: tuple[str, ...] = ("serve",)) -> bytes:
    info = b"".join(message(4, tag.encode()) for tag in tags) + message(5, b"2.15.1")
    graph = message(1, info) + message(2, b"\x0a\x00" * 50)
    graph += b"".join(entry(5, name, data) for name, data in signatures.items())
    return number(1, 1) + message(2, graph)


def digits_model() -> bytes:
    """784 pixels in, ten probabilities out."""
    return saved_model(
        {
            "serving_default": signature(
                {"pixels": tensor(FLOAT, [-1, 784])}, {"output_0": tensor(FLOAT, [-1, 10])}
            ),
            "__saved_model_init_op": signature({}, {"op": tensor(INT32, None)}),
        }
    )
