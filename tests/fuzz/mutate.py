"""Inputs that are nearly right: a seeded mutator of bytes, and one that knows JSON."""

import json
import math
import random
import re
from collections.abc import Sequence
from typing import Any

LARGEST = 200_000  # bytes of an input
_NUMBERS = [0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
_BIG = b"99999999999999999999"
_NOT_QUITE_NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"-0.0", b"9" * 5000, b"1e-9999", _BIG)
_TEXTS = [
    *_NOT_QUITE_NUMBERS,
    *(b"null", b"true", b"false", b"{}", b"[]", b'""', b"''", b"None", b"__import__('os')"),
    *(b"[" * 2000, b"{" * 500, b'{"a":' * 2000, b"(" * 2000, b"- " * 2000, b"&a [*a, *a]", b"<<: *a"),
    *(b"!!python/name:os", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800"),
    *(b"\xe2\x80\x8b", b"\r", b"\n", b",", b";", b"\t", b'"', b"'", b"\\", b"#", b"%", b":", b"/"),
    *(
        b"%!PS-Adobe",
        b"ffconcat version 1.0\nfile in\n",
        b"#EXTM3U\nin\n",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00",
    ),
    *(b"../../../etc/passwd", b"file:///etc/passwd", b"http://127.0.0.1:9/", b"~root/x", b"$HOME"),
    *(b"{{7*7}}", b"<script>", b"x" * 10_000, b" " * 10_000),
]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e300, 10**400, math.nan, math.inf),
    *(2**31, 2**63, -(2**63) - 1, 2**64, "", " ", "a", "a" * 10_000, "\0", "\ud800", "\u200b", "NaN", "1"),
    *("../../../etc/passwd", "/etc/passwd", "~root", [0] * 10_000, ["x"] * 5000),
    *([], {}, [[]], [None], {"": None}, {"a": {"a": {"a": {}}}}),
]


def mutate(draw: random.Random, pool: Sequence[bytes], *, structured: bool = False) -> bytes:
    """Make an input from others.

    Args:
        draw: The source of chance.
        pool: Inputs that are right, or were wrong before.
        structured: Change values of JSON, line by line, half of the time.
    """
    content = draw.choice(pool)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        if structured and draw.random() < 0.5:
            content = _mutate_json(draw, content)
        else:
            content = draw.choice(_WAYS)(draw, content, pool)
        content = content[:LARGEST]
    return content


def _place(draw: random.Random, content: bytes) -> int:
    """Return a place; half of the time near the beginning, where headers are."""
    return (
        draw.randrange(min(len(content), 200) + 1)
        if draw.random() < 0.5
        else draw.randrange(len(content) + 1)
    )


def _flip(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 4, 32))):
        at = min(_place(draw, content), len(changed) - 1)
        changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _random_bytes(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at, length = _place(draw, content), draw.choice((1, 2, 8, 100))
    return content[:at] + draw.randbytes(length) + content[at + length :]


def _truncate(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    return content[: _place(draw, content)]


def _delete(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(draw, content)
    return content[:at] + content[at + draw.choice((1, 2, 4, 50, 1000)) :]


def _repeat(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at, length = _place(draw, content), draw.choice((1, 2, 8, 64, 512))
    return content[:at] + content[at : at + length] * draw.choice((2, 3, 100, 1000)) + content[at:]


def _splice(draw: random.Random, content: bytes, pool: Sequence[bytes]) -> bytes:
    other = draw.choice(pool)
    return content[: _place(draw, content)] + other[_place(draw, other) :]


def _number(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at, width = _place(draw, content), draw.choice((1, 2, 4, 8))
    number = draw.choice(_NUMBERS) % (1 << 8 * width)
    return content[:at] + number.to_bytes(width, draw.choice(("little", "big"))) + content[at + width :]


def _digits(draw: random.Random, content: bytes, pool: Sequence[bytes]) -> bytes:
    found = list(re.finditer(rb"\d+", content[:20_000]))
    if not found:
        return _number(draw, content, pool)
    one = draw.choice(found)
    return content[: one.start()] + draw.choice(_NOT_QUITE_NUMBERS) + content[one.end() :]


def _text(draw: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    at = _place(draw, content)
    return content[:at] + draw.choice(_TEXTS) + content[at:]


_WAYS = (_flip, _random_bytes, _truncate, _delete, _repeat, _splice, _number, _digits, _text)


def _mutate_json(draw: random.Random, content: bytes) -> bytes:
    """Change one value, name or length in one line of JSON, or in all if it is one document."""
    try:
        return _write(_changed(draw, json.loads(content)))
    except (ValueError, RecursionError):
        pass
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    try:
        lines[at] = _write(_changed(draw, json.loads(lines[at])))
    except (ValueError, RecursionError):
        return _text(draw, content, ())
    return b"\n".join(lines)


def _write(value: Any) -> bytes:
    return json.dumps(value).encode()


def _changed(draw: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(list(value))
        match draw.randrange(8):
            case 0:
                return {key: one for key, one in value.items() if key != name}
            case 1:
                return value | {draw.choice(("", "x" * 1000, "format", "__class__")): value[name]}
            case _:
                return value | {name: _changed(draw, value[name])}
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        match draw.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value * draw.choice((2, 100))
            case _:
                return [*value[:at], _changed(draw, value[at]), *value[at + 1 :]]
    return draw.choice(_VALUES)
