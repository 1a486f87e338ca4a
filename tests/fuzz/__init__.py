"""Every reader gets files that nobody wrote in good faith; see `__main__` for how to run it."""
