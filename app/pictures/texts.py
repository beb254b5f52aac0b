"""Words in pictures: short, and on one line."""

_LONGEST = 48


def label(text: str, *, longest: int = _LONGEST) -> str:
    """The text on one line, shortened in the middle: names of one kind often end in a number."""
    plain = " ".join(text.split())
    printable = "".join(sign if sign.isprintable() else "�" for sign in plain)
    if len(printable) <= longest:
        return printable
    behind = longest // 3
    return f"{printable[: longest - 1 - behind]}…{printable[-behind:]}"


def duration(seconds: float) -> str:
    """How long something took, to two units."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
