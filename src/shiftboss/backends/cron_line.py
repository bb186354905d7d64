"""The crontab of a project: one file in cron.d with one line for each schedule, readable and exact.

No shell syntax of a command survives by accident: every word is quoted for /bin/sh, then written so that
cron hands it to the shell unchanged. Whatever a crontab cannot hold is refused with a way out.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from shiftboss.backends.crontab import (
    MAX_COMMAND_BYTES,
    MAX_VARIABLE_BYTES,
    is_crontab_name,
    read_crontab,
    read_variable,
)
from shiftboss.core.errors import UserError
from shiftboss.core.managed import seal
from shiftboss.core.spec import Project, Schedule, Site

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:,@+-]+")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# control characters but the tab, and what was not UTF-8 where it came from
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
# one word in which /bin/sh finds nothing to interpret, and the line made of such words
_WORD = r"""(?:[A-Za-z0-9@%+=:,./_-]|'[^']*'|"'")+"""
_SHAPE = re.compile(
    rf"cd (?P<directory>{_WORD}) && (?P<words>{_WORD}(?: {_WORD})*) >> (?P<log>{_WORD}) 2>&1", re.ASCII
)
_WORDS = re.compile(rf"{_WORD}(?: {_WORD})*", re.ASCII)
_ROOT = "root"
NO_LAUNCHES: Mapping[str, tuple[str, ...]] = {}
_SCRIPT_HINT = "Put the command into a script of the project and schedule that script."

# Variables that steer cron itself (crontab(5) of Debian and of cronie) or that it sets and never gives up.
_RESERVED = {
    "SHELL": "every line is written for /bin/sh",
    "MAILTO": "output goes to the log",
    "MAILFROM": "output goes to the log",
    "LOGNAME": "cron sets it to the user of the line",
    "CRON_TZ": "Debian's cron takes it for a plain variable, so times would not change",
    "RANDOM_DELAY": "it would delay every schedule of the project",
}


class Meant(Struct, frozen=True):
    """What one line has to make cron do: at which times, as whom, and which words the shell must find.

    Without `directory` and `log` the command sees to both itself.
    """

    when: str
    user: str
    directory: str
    argv: tuple[str, ...]
    log: str


def crontab_path(site: Site, project: str) -> str:
    """Return where the crontab of a project is; raise UserError for a name that cron would pass over."""
    name = f"shiftboss-{project}"
    if not is_crontab_name(name):
        raise UserError(
            f"cron would not read a file called {name!r}",
            hint="A file in cron.d has only letters, digits, - and _ in its name.",
        )
    return f"{site.cron_dir}/{name}"


def meant_by(schedule: Schedule, launch: tuple[str, ...] | None = None) -> Meant:
    """Return what the line of a schedule has to do; `launch` is the launcher's command up to the address."""
    project = schedule.project
    when = " ".join(schedule.cron.split())
    if launch:
        return Meant(when, _ROOT, "", (*launch, schedule.address), "")
    return Meant(when, project.account.name, project.current, schedule.argv, schedule.log_path)


def render_crontab(
    project: Project, schedules: Iterable[Schedule], launches: Mapping[str, tuple[str, ...]] = NO_LAUNCHES
) -> str:
    """Return the sealed text of a project's crontab, proved by `check`; raise UserError for what it cannot hold.

    `launches`: by address, the command of those that the launcher starts. They stand above the project's variables,
    which must not reach a program of root.
    """
    ordered = sorted(schedules, key=lambda schedule: schedule.name)
    launched = [schedule for schedule in ordered if schedule.address in launches]
    plain = [schedule for schedule in ordered if schedule.address not in launches]
    lines: list[str] = []
    for schedule in launched:
        # its command is for root's eyes: everybody can read this file
        lines += ["", f"# {schedule.address}", render_line(schedule, launches[schedule.address])]
    if plain:
        lines += [""] if launched else []
        lines += [_render_variable(name, value) for name, value in _variables(project).items()]
    for schedule in plain:
        lines += ["", f"# {schedule.address}", render_line(schedule)]
    text = seal("\n".join(lines) + "\n", project.name, comment="#")
    meant = [meant_by(schedule, launches.get(schedule.address)) for schedule in (*launched, *plain)]
    check(text, {project.account.name, _ROOT}, meant)
    return text


def render_line(schedule: Schedule, launch: tuple[str, ...] | None = None) -> str:
    """Return the line of a schedule, without a newline; raise UserError if no line can hold it."""
    meant = meant_by(schedule, launch)
    for word in (meant.directory, *meant.argv, meant.log):
        _refuse_characters(schedule.address, word)
    field = _command(meant).replace("%", r"\%")
    size = len(field.encode())
    if size > MAX_COMMAND_BYTES:
        raise UserError(
            f"cannot put {schedule.address} into a crontab: its command has {size} bytes, cron takes {MAX_COMMAND_BYTES}",
            hint=_SCRIPT_HINT,
        )
    return f"{meant.when} {meant.user} {field}"


def _command(meant: Meant) -> str:
    if not meant.log:
        return _joined(meant.argv)
    return f"cd {_quoted(meant.directory)} && {_joined(meant.argv)} >> {_quoted(meant.log)} 2>&1"


def check(text: str, users: Collection[str], meant: Iterable[Meant]) -> None:
    """Read a crontab again as cron reads it, and compare what would happen with what is meant.

    Raises UserError where cron would ignore the file, and where the shell would not get exactly the words
    that are meant.
    """
    for job, wish in zip(read_crontab(text, users), meant, strict=True):
        same = (job.when, job.user, job.stdin) == (wish.when, wish.user, "")
        if not same or _words(job.command, wish) != wish.argv:
            raise UserError(
                f"cannot put {wish.argv[0]} into a crontab: cron would run something else than is meant",
                hint=_SCRIPT_HINT,
            )


def _words(command: str, wish: Meant) -> tuple[str, ...] | None:
    """Return the program's words in what the shell gets; None if the shell could find anything else in it."""
    if not wish.log:
        return tuple(shlex.split(command)) if _WORDS.fullmatch(command) else None
    found = _SHAPE.fullmatch(command)
    if found is None:
        return None
    around = (*shlex.split(found["directory"]), *shlex.split(found["log"]))
    words = tuple(shlex.split(found["words"]))
    # a first word without a slash could be an assignment, a keyword or a builtin
    return words if around == (wish.directory, wish.log) and words[0].startswith("/") else None


def _joined(argv: Iterable[str]) -> str:
    return " ".join(_quoted(word) for word in argv)


def _quoted(word: str) -> str:
    r"""Return a word for /bin/sh that any cron leaves alone once its `%` are escaped.

    Debian's cron turns `\\` into `\` (seen), cronie does not (its do_command.c), and in both a backslash hides
    from the `%` behind it that it is escaped. So none may stand before another one or before `%`: they are
    parted by closing and opening the quotes.
    """
    return re.sub(r"\\(?=[\\%])", r"\\''", shlex.quote(word))


def _refuse_characters(address: str, word: str) -> None:
    found = _UNFIT.search(word)
    if found:
        raise UserError(
            f"cannot put {address} into a crontab: a line cannot hold the character {found.group()!r}",
            hint=_SCRIPT_HINT,
        )


def _variables(project: Project) -> dict[str, str]:
    """Return the variables of a project's crontab: cron itself sets only HOME, LOGNAME and a short PATH."""
    for name, _ in project.environment:
        if name in _RESERVED:
            raise UserError(
                f"cannot put variable {name} of {project.name} into a crontab: {_RESERVED[name]}",
                hint="Remove it from the project's environment, or run the schedules on the native backend.",
            )
    ours = {"SHELL": "/bin/sh", "PATH": project.path, "LANG": "C.UTF-8", "USER": project.account.name}
    return ours | {"MAILTO": ""} | dict(project.environment)


def _render_variable(name: str, value: str) -> str:
    """Return an environment line; the value is not shown in an error, for it may be a secret."""
    for text in _spellings(value):
        line = f"{name}={text}"
        if _is_faithful(line, name, value):
            return line
    raise UserError(
        f"cannot put variable {name} into a crontab: cron cannot hold its value",
        hint=f"A variable has one line of at most {MAX_VARIABLE_BYTES} bytes; let the program read larger ones from a file.",
    )


def _spellings(value: str) -> tuple[str, ...]:
    """Return the ways to write a value; cron knows no escape, but takes quotes inside a bare value literally."""
    return (value,) if _PLAIN_VALUE.fullmatch(value) else (f'"{value}"', f"'{value}'", value)


def _is_faithful(line: str, name: str, value: str) -> bool:
    if not _VARIABLE_NAME.fullmatch(name) or _UNFIT.search(value):
        return False
    return read_variable(line) == (name, value) and len(line.encode()) <= MAX_VARIABLE_BYTES
