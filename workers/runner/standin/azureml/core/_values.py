"""Turn what scripts log into JSON values, without importing the libraries it comes from."""

import numbers


def plain(value):
    """Return the value as JSON can hold it.

    Scalars and arrays of numpy, TensorFlow, PyTorch and pandas become numbers and lists; what
    has no JSON form becomes its text.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return _converted(value)


def _converted(value):
    """Return the value of an object that knows how to become plain, or its text."""
    for name in ("tolist", "numpy", "item"):
        convert = getattr(value, name, None)
        if callable(convert):
            try:
                return plain(convert())
            except (TypeError, ValueError, RuntimeError, AttributeError):
                continue
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
