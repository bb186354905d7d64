"""A worker as a classic Supervisor program file: `[program:myapp_queue]`, and the check before it is written.

Supervisor has no way to escape a character, and its own reading of a value depends on the option and on the
version. So everything is quoted such that 4.2.5, 4.3 and 4.4 read the same, and what is written is read back
by their rules (`supervisor_rules`).
"""

import re
import shlex
from collections.abc import Collection
from functools import partial

from msgspec.structs import fields

from shiftboss.backends.launch_orders import Launch
from shiftboss.backends.supervisor_names import name_in_group, supervisor_name
from shiftboss.backends.supervisor_rules import (
    MAX_INTEGER,
    NotReadableError,
    Program,
    is_signal,
    read_program,
)
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.spec import Environment, Restart, Worker

START_RETRIES = 60
_ROOT, _COUNT_FROM_ZERO = "root", "--from-zero"
# changes with what the launcher will find in its orders: only then does Supervisor start the program again
_REVISION = "SHIFTBOSS_REVISION"
# Both stand for nothing, and keep apart what Supervisor must not see side by side.
_NOTHING = "%(program_name).0s"
_NOTHING_IN_QUOTES = "''"
# An inline comment starts at ; or # after any white space. Under a Latin-1 locale the daemon may also take the
# last byte of a UTF-8 character for one, so nothing but visible ASCII is trusted.
_COMMENT = re.compile(r"(?<=[^!-~])(?=[;#])")
# The daemon puts a directory in for %(here)s even where the % is doubled.
_HERE = re.compile(r"(?<=%)(?=\(here\)s)")
_UNWRITABLE = re.compile(r"[\0\n\r\ud800-\udfff]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTES = "'\""
_OWN_FILE = "Put it into a file of the project that the program reads itself, such as .env."
_REPORT = "Nothing was changed; please report this as a fault of shiftboss."


def program_of(worker: Worker, *, system: bool, launch: Launch | None = None) -> Program:
    """Return what the file of a worker means. With `system` Supervisor switches to the project's user.

    With `launch` root's launcher does that, and all else that is said in its orders: directory and variables too.
    """
    project = worker.project
    return Program(
        name=supervisor_name(project.name, worker.name),
        processes=tuple(map(partial(name_in_group, worker), range(1, worker.processes + 1))),
        argv=(*launch.command, _COUNT_FROM_ZERO, f"{worker.address}:00") if launch else worker.argv,
        environment=((_REVISION, launch.revision),) if launch else _environment(worker),
        directory="/" if launch else project.current,
        user=(_ROOT if launch else project.account.name) if system else "",
        start_seconds=worker.start_seconds,
        start_retries=worker.restart_limit or START_RETRIES,
        autorestart=_AUTORESTART[worker.restart],
        stop_signal=worker.stop.signal,
        stop_wait_seconds=worker.stop.wait_seconds,
        stop_as_group=worker.stop.scope == "group",
        kill_as_group=True,
        log=worker.log_path,
        log_max_bytes=worker.log.max_bytes if worker.processes == 1 else 0,
        log_backups=worker.log.backups,
    )


def _environment(worker: Worker) -> Environment:
    """Return all variables. Supervisor leaves those of root (HOME, USER…) to a program of another user."""
    account = worker.project.account
    own = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
    own |= {"PATH": worker.project.path, "LANG": "C.UTF-8"}
    return tuple((own | dict(worker.project.environment) | dict(worker.environment)).items())


def render(worker: Worker, *, system: bool, launch: Launch | None = None) -> str:
    """Return the text of a worker's program file, without the header of `core.managed`; see `program_of`.

    Raises UserError for what no Supervisor can be told: a value with both kinds of quotes, a line break,
    an unknown signal, a log of more than 2 GiB. The value of a variable is never in the message.
    """
    program = program_of(worker, system=system, launch=launch)
    _refuse_unwritable(worker, program, launch)
    several = worker.processes > 1
    lines = [
        f"[program:{program.name}]",
        f"process_name=%(program_name)s{'_%(process_num)02d' if several else ''}",
        *(_LAUNCHED if launch else ()),
        f"command={_command(program.argv) if not launch else _launched(program.argv)}",
        f"directory={_literal(program.directory)}",
        *([f"user={_literal(program.user)}"] if program.user else []),
        f"numprocs={worker.processes}",
        "autostart=true",
        f"autorestart={program.autorestart}",
        f"startsecs={program.start_seconds}",
        *(_RETRIES if program.start_retries == START_RETRIES else ()),
        f"startretries={program.start_retries}",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_wait_seconds}",
        f"stopasgroup={_yes(program.stop_as_group)}",
        f"killasgroup={_yes(program.kill_as_group)}",
        "redirect_stderr=true",
        f"stdout_logfile={_literal(program.log.replace('%', '%%'))}",  # the one option that is expanded twice
        *(_SHARED_LOG if several else ()),
        f"stdout_logfile_maxbytes={program.log_max_bytes}",
        f"stdout_logfile_backups={program.log_backups}",
        "environment=",
        ",\n".join(f"    {name}={_value(worker, name, value)}" for name, value in program.environment),
    ]
    return "\n".join(lines) + "\n"


_LAUNCHED = (
    "; Started as root by the launcher, which sets limits and isolation, becomes the project's user and then the",
    "; program itself. What it runs is in its orders; the revision is only there to start it again with others.",
)
_AUTORESTART: dict[Restart, str] = {"always": "true", "on-failure": "unexpected", "never": "false"}
_RETRIES = (
    "; Supervisor gives up for good after these tries. It waits 1 s, 2 s, 3 s ... between them: 60 tries",
    "; last half an hour, so that a database that is away for some minutes does not end the worker.",
)
_SHARED_LOG = (
    "; Several processes write this log. If Supervisor rotated it, each of them would end up in another file,",
    "; so logrotate does it.",
)


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _literal(text: str, nothing: str = _NOTHING) -> str:
    """Return `text` such that the INI parser and the expansion of % leave it as it is."""
    return _HERE.sub(nothing, _COMMENT.sub(nothing, text.replace("%", "%%")))


def _command(argv: tuple[str, ...]) -> str:
    """Return words that a shell would read alike; ; # and ( are always inside single quotes here."""
    return _literal(shlex.join(argv), _NOTHING_IN_QUOTES)


def _launched(argv: tuple[str, ...]) -> str:
    """Return the words of a launcher; the process that the address ends with is Supervisor's to fill in."""
    *words, address = argv
    return f"{_command(tuple(words))} {address.removesuffix('00')}%(process_num)02d"


def _value(worker: Worker, name: str, value: str) -> str:
    """Return a value in quotes that 4.3 (which strips quotes, has no escapes) and 4.4 (POSIX) read alike."""
    if value.strip(_QUOTES) != value:
        raise _no_variable(worker, name, "its value begins or ends with a quote")
    if '"' not in value and "\\\\" not in value and not value.endswith("\\"):
        return f'"{_literal(value)}"'
    if "'" not in value:
        return f"'{_literal(value)}'"
    if '"' in value:
        raise _no_variable(worker, name, "its value has both kinds of quotes")
    raise _no_variable(worker, name, "its value has a quote, and a backslash that is double or the last one")


def _no_variable(worker: Worker, name: str, why: str) -> UserError:
    return UserError(
        f"Supervisor cannot pass the variable {name} to {worker.address}: {why}",
        hint=f"{_OWN_FILE} Supervisor has no way to escape it.",
    )


def _refuse_unwritable(worker: Worker, program: Program, launch: Launch | None) -> None:
    if worker.env_file and not launch:
        raise UserError(
            f"Supervisor cannot read the env_file of {worker.address}",
            hint='Put the variables into environment, or run it on our own engine: backend = "native".',
        )
    for name, value in program.environment:
        if not _VARIABLE.fullmatch(name):
            raise _no_variable(worker, repr(name)[:40], "this is not a name of a variable")
        if _UNWRITABLE.search(value):
            raise _no_variable(worker, name, "its value has a line break, a NUL or broken UTF-8")
    places = ("directory", program.directory), ("log", program.log), ("user", program.user)
    for what, text in (*(("command", word) for word in program.argv), *places):
        _refuse_unwritable_text(worker, what, text)
    _refuse_numbers(worker, program)


def _refuse_unwritable_text(worker: Worker, what: str, text: str) -> None:
    found = _UNWRITABLE.search(text)
    if found:
        raise UserError(
            f"Supervisor cannot be told the {what} of {worker.address}: it contains {found.group()!r}",
            hint="Use text in UTF-8 without line breaks.",
        )


def _refuse_numbers(worker: Worker, program: Program) -> None:
    if not is_signal(program.stop_signal):
        raise UserError(
            f"the stop signal of {worker.address} is no signal: {program.stop_signal!r}",
            hint="Use TERM, INT, QUIT, HUP, USR1, USR2 or another one of signal(7), without SIG.",
        )
    if worker.log.max_bytes > MAX_INTEGER:
        raise UserError(
            f"the log of {worker.address} may grow to {worker.log.max_bytes} bytes, Supervisor takes {MAX_INTEGER}",
            hint="Set log_max_size below 2G.",
        )


def check(
    text: str,
    known_users: Collection[str],
    directories: Collection[str],
    *,
    meant: Program | None = None,
) -> None:
    """Read a program file as Supervisor will; return if it is sound and says exactly what was `meant`.

    One file that Supervisor cannot read ends the reread of all projects, hence this before each write.
    Raises UserError for what breaks its grammar or types, HostError for a user that is not known or a log
    whose directory is not there, AssertionError (our fault) if it would read something else than was meant.
    """
    try:
        program = read_program(text)
    except NotReadableError as error:
        raise UserError(f"Supervisor would refuse the program file: {error}", hint=_REPORT) from None
    _refuse_absent(program, known_users, directories)
    if meant is not None and program != meant:
        other = [f.name for f in fields(Program) if getattr(program, f.name) != getattr(meant, f.name)]
        raise AssertionError(f"{meant.name}: Supervisor would read {', '.join(other)} otherwise than meant")


def _refuse_absent(program: Program, known_users: Collection[str], directories: Collection[str]) -> None:
    if program.user and program.user not in known_users:
        raise HostError(
            f"Supervisor would refuse {program.name}: there is no user {program.user}",
            hint="Create the user, or name another one in the project file.",
        )
    directory = program.log.rpartition("/")[0] or "/"
    if directory not in directories:
        raise HostError(
            f"Supervisor would refuse {program.name}: there is no directory {directory} for its log",
            hint="Create it, or name another one in the project file.",
        )
