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


def load_env(line: str) -> tuple[str, str] | None:
    """Return the variable that env.c finds in a line, None if it takes the line for a job."""
    namei, name, eq1, eq2, valuei, value, fini, error = range(8)
    texts = {name: "", value: ""}
    state, quote, index = namei, "", 0
    while state != error and index < len(line):
        character = line[index]
        if state in (namei, valuei):
            quote = character if character in "'\"" else ""
            index += bool(quote)
            state += 1
            continue
        index += 1
        if state in (name, value):
            if quote and character == quote:
                state += 1
            elif state == name and character == "=":
                state = error if quote else eq2
            elif state == name and not quote and character in " \t\n\v\f\r":
                state = eq1
            else:
                texts[state] += character
        elif state == eq1:
            state = eq2 if character == "=" else eq1 if character in " \t\n\v\f\r" else error
        elif character not in " \t\n\v\f\r":  # eq2 or fini
            index -= 1
            state += 1
    if state != fini and not (state == value and not quote):
        return None
    return texts[name], texts[value].rstrip(" \t\n\v\f\r") if state == value else texts[value]
