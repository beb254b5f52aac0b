"""Which media type a file has by its name, as MLflow's servers tell it."""

import mimetypes
import re

_TEXTS = frozenset(
    {
        *("txt", "log", "err", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon"),
        *("toml", "yaml", "yml", "xml", "json", "js", "py", "py3", "csv", "tsv", "md", "rst"),
        *("ipynb", "mlmodel", "mlproject"),
    }
)
"""Endings, and names without one, of files that are shown as plain text."""
_JSON = re.compile(r"[/+]json$")
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
    if media_type is None or coding is not None:
        # What is packed is not what is in it.
        return "application/octet-stream"
    # An answer of such a type would be taken for one of the API's own.
    return "text/plain" if _JSON.search(media_type) else media_type
