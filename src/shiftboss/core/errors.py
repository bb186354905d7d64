"""Errors by fault: who has to act, and what to do next.

A message is one line, names the object and has no full stop; the hint is a whole sentence that says
what to do. Anything that is neither of these classes is our bug (exit code 70).
"""


class ShiftbossError(Exception):
    """An error that a person can act on: `message`, and a `hint` that may be empty."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(ShiftbossError):
    """The request or the configuration is wrong: the user acts.

    `where` is the file and the path of the key that is meant, if there is one.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.where = where


class HostError(ShiftbossError):
    """The machine or a backend refused: the administrator acts, or a retry helps."""

    exit_code = 1


class DeniedError(HostError):
    """Who asks may not have it: somebody with more rights acts."""
