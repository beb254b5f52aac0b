"""Which media type a file has by its name, as MLflow's servers tell it."""

import mimetypes

_TEXTS = frozenset(
    {
        *("txt", "log", "err", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon"),
        *("toml", "yaml", "yml", "xml", "json", "js", "py", "py3", "csv", "tsv", "md", "rst"),
        *("ipynb", "mlmodel", "mlproject"),
    }
)
"""Endings, and names without one, of files that are shown as plain text."""
# Not what the machine has installed: the same name is the same type everywhere.
_KNOWN = mimetypes.MimeTypes()


def media_type_of(filename: str) -> str:
    """The media type of a file; bytes where the name tells nothing.

    Args:
        filename: without its folder.
    """
    name, dot, ending = filename.rpartition(".")
    if (ending if dot and name else filename).lower() in _TEXTS:
        return "text/plain"
    media_type, coding = _KNOWN.guess_type(filename, strict=False)
    # What is packed is not what is in it.
    return media_type if media_type and coding is None else "application/octet-stream"
