"""The one class of errors that are the user's to mend."""


class UserError(Exception):
    """Something that the user gave cannot be used.

    The message says what is wrong, where (file, line, id) and what to do. The command line prints it
    without a traceback and exits with status 2.
    """
