"""Read metrics back in the form in which `get_metrics` gives them."""


def fold(items):
    """Return {name: value} from the API's list of metrics.

    One scalar is a value, several are a list; rows gather into columns; tables and lists that
    were logged once stay as they are.
    """
    points = {}
    kinds = {}
    for item in items:
        name = item["name"]
        kinds.setdefault(name, item.get("type", "scalar"))
        values = [point["value"] for point in item["points"]] if "points" in item else None
        points.setdefault(name, []).extend([item.get("value")] if values is None else values)
    return {name: _value(kinds[name], values) for name, values in points.items()}


def _value(kind, values):
    if kind == "scalar":
        values = [_number(value) for value in values]
    elif kind in ("row", "table"):
        return _columns(values)
    elif kind == "list":
        values = [[_number(item) for item in value] for value in values]
    return values[0] if len(values) == 1 else values


def _number(value):
    # JSON has no NaN and no infinity: the API writes them as text.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _columns(rows):
    if len(rows) == 1:
        return rows[0]
    columns = {}
    for row in rows:
        for name, value in row.items():
            held = columns.setdefault(name, [])
            held.extend(value if isinstance(value, list) else [value])
    return columns
