"""Text for people: safe to print, with the right plural."""

import os
import re

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str | os.PathLike[str]) -> str:
    """Return a line or path with control characters and bytes that are not UTF-8 escaped, as Python does."""
    return _UNPRINTABLE.sub(_escaped, os.fspath(text))


def _escaped(found: re.Match[str]) -> str:
    byte = ord(found[0]) - 0xDC00  # as Python has bytes that are not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else found[0].encode("unicode_escape").decode()


def plural(count: int, what: str) -> str:
    """Return a number with its noun: `1 epoch`, `1,000 epochs`.

    Args:
        count: The number.
        what: The noun in the singular; its plural ends in `s`.
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def file_size(count: int) -> str:
    """Return a number of bytes for people: `812 bytes`, `1.5 MB`, `3.0 GB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return plural(count, "byte")
