"""Find numbers that are not finite: NaN, infinity, or too large for 32 bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcmr.errors import CorruptFileError

RowName = Callable[[int], str]
"""Takes the number of a row; returns its name for messages, such as `video 'a', row index 3`."""

_TINY = 1e-12  # below it, torch's `normalize` does not make a vector's length 1


def not_finite(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices along the first axis whose numbers are not all finite as float32.

    Args:
        rows: Numbers of any type and shape; in a vector, each number is a row.
    """
    with np.errstate(over="ignore"):
        single = np.asarray(rows, np.float32)
    return np.flatnonzero(~np.isfinite(single).reshape(len(single), -1).all(axis=1))


def require_finite(rows: NDArray[Any], name: RowName, advice: str = "") -> None:
    """Refuse an array that holds NaN, infinity, or a number too large for float32.

    Args:
        rows: Numbers of any type and shape.
        name: Returns the name of the first invalid row.
        advice: A remedy for the message.

    Raises:
        CorruptFileError: If a number is not finite.
    """
    # If the sum is finite, all numbers are. The sum of large numbers may not be: then all rows are checked.
    with np.errstate(all="ignore"):
        if rows.dtype == np.float32 and np.isfinite(rows.sum()):
            return
    wrong = not_finite(rows)
    if wrong.size:
        raise CorruptFileError(
            f"{name(int(wrong[0]))}: {describe_not_finite(rows[wrong[0]])}"
            + (f"; {advice}" if advice else "")
        )


def require_normalisable(rows: NDArray[Any], name: RowName, advice: str = "") -> None:
    """Refuse vectors that cannot be normalised, because they are not finite or (nearly) zero.

    Args:
        rows: Vectors, (n, dimension).
        name: Returns the name of the first invalid vector.
        advice: A remedy for the message.

    Raises:
        CorruptFileError: If a number is not finite, or all numbers of a vector are nearly zero.
    """
    require_finite(rows, name, advice)
    zeros = np.flatnonzero(np.abs(rows).max(axis=1) < _TINY)
    if zeros.size:
        raise CorruptFileError(
            f"{name(int(zeros[0]))}: all numbers are zero, so it has no direction to compare"
            + (f"; {advice}" if advice else "")
        )


def describe_not_finite(numbers: NDArray[Any]) -> str:
    """Describe the first number of a row that is not finite as float32."""
    flat = np.asarray(numbers).reshape(-1)
    wrong = not_finite(flat)
    if not wrong.size:
        return "all numbers are finite"
    first = flat[wrong[0]]
    if np.isnan(first):
        return "holds NaN (not a number)"
    return "holds infinity" if np.isinf(first) else f"holds {first:g}, too large for a 32-bit number"
