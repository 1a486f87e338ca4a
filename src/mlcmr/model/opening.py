"""Opening what Hugging Face's libraries open: with bars only on a terminal, and one line for what fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

from mlcmr.errors import UserError, reason


@contextmanager
def opening(failure: str, *, quiet: bool = False) -> Iterator[None]:
    """Says in one line why something cannot be opened.

    Args:
        failure: What to say before the reason.
        quiet: Say nothing of weights that are left out or missing, as where the caller judges them.

    Raises:
        UserError: it cannot be opened.
    """
    log: Any = logging
    verbosity, shows_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    if quiet:
        log.set_verbosity_error()
    if not sys.stderr.isatty():
        log.disable_progress_bar()
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged or foreign file makes the libraries raise nearly anything
        raise UserError(f"{failure}: {reason(error)}") from error
    finally:
        log.set_verbosity(verbosity)
        if shows_bars:
            log.enable_progress_bar()
