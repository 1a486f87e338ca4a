"""The one class of errors that are the user's to mend, and what other errors say."""

_LONGEST = 300


class UserError(Exception):
    """Something that the user gave cannot be used.

    The message says what is wrong, where (file, line, id) and what to do. The command line prints it
    without a traceback and exits with status 2.
    """


def reason(error: BaseException) -> str:
    """What an error of a library or of the system says, in one line; its name where it says nothing."""
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words[:_LONGEST] or type(error).__name__
