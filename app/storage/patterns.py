"""Patterns of file paths in the language of a ``.gitignore``."""

import re
from collections.abc import Iterable

import re2
from pathspec import GitIgnoreSpec


class PatternsUnusable(Exception):
    """They are no patterns, or too much to be matched; the message says which."""


def compiled(patterns: Iterable[str]) -> GitIgnoreSpec:
    """What matches paths.

    Args:
        patterns: lines of a ``.gitignore``.

    Raises:
        PatternsUnusable: one is wrong, or all together are too much.
    """
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except (ValueError, re.error, re2.error) as error:
        raise PatternsUnusable(str(error)) from None
