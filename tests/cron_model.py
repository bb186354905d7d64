"""What crons do with the text of a crontab, ported by hand from their sources and checked against the real ones.

A second opinion beside `shiftboss.backends.crontab`, which shares no code with it.
"""


def after_percent_rule(field: str, *, halves_backslashes: bool) -> tuple[str, str]:
    r"""Return command and standard input, as do_command.c makes them from the sixth field of a line.

    `halves_backslashes`: Debian's cron 3.0pl1 drops the backslash before `\` too, vixie 4 and cronie only
    before `%`.
    """
    hidden = "%\\" if halves_backslashes else "%"
    command, index, escaped = "", 0, False
    while index < len(field):
        character = field[index]
        if escaped:
            command = command[:-1] + character if character in hidden else command + character
            escaped = False
        elif character == "%":
            break
        else:
            command += character
            escaped = character == "\\"
        index += 1
    return command, _stdin(field[index + 1 :])


def _stdin(rest: str) -> str:
    out, escaped = "", False
    for character in rest:
        if escaped:
            out += character if character == "%" else "\\" + character
        elif character == "%":
            out += "\n"
        elif character != "\\":
            out += character
        escaped = not escaped and character == "\\"
    return out


_SPACE = " \t\n\v\f\r"
_NAME, _EQ1, _EQ2, _VALUE, _FINI, _ERROR = 1, 2, 3, 5, 6, 7


class _Variable:
    """The states of load_env(): NAMEI, NAME, EQ1, EQ2, VALUEI, VALUE, FINI, ERROR."""

    def __init__(self) -> None:
        self.state, self.quote = 0, ""
        self.texts = {_NAME: "", _VALUE: ""}

    def take(self, character: str) -> bool:
        """Go on by one character; return whether it is used up."""
        if self.state in (_NAME - 1, _VALUE - 1):
            self.quote = character if character in "'\"" else ""
            self.state += 1
            return bool(self.quote)
        if self.state in self.texts:
            self._text(character)
            return True
        if self.state == _EQ1:
            self.state = _EQ2 if character == "=" else _EQ1 if character in _SPACE else _ERROR
            return True
        if character in _SPACE:
            return True
        self.state += 1
        return False

    def _text(self, character: str) -> None:
        if self.quote and character == self.quote:
            self.state += 1
        elif self.state == _NAME and character == "=":
            self.state = _ERROR if self.quote else _EQ2
        elif self.state == _NAME and not self.quote and character in _SPACE:
            self.state = _EQ1
        else:
            self.texts[self.state] += character


def load_env(line: str) -> tuple[str, str] | None:
    """Return the variable that env.c finds in a line, None if it takes the line for a job."""
    variable, index = _Variable(), 0
    while variable.state < _ERROR and index < len(line):
        index += variable.take(line[index])
    name, value = variable.texts.values()
    if variable.state == _FINI:
        return name, value
    return (name, value.rstrip(_SPACE)) if variable.state == _VALUE and not variable.quote else None
