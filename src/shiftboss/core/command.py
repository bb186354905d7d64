"""The command of a unit: from the project file, a Procfile or a preset's template to an argument vector."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.names import suggest
from shiftboss.core.options import Values, filled_word, used_in
from shiftboss.core.preset import Option, Preset
from shiftboss.core.propose import holds
from shiftboss.core.release import ReleaseFacts, needs_shell, printable
from shiftboss.core.spec import Project
from shiftboss.core.tables import Command as Written
from shiftboss.core.tables import ScheduleTable, WorkerTable
from shiftboss.core.words import command_words

# the Debian packages of the words that commands usually begin with
_DEBIAN = {
    "bundle": "ruby-bundler",
    "mysqldump": "default-mysql-client",
    "node": "nodejs",
    "npm": "npm",
    "npx": "npm",
    "pg_dump": "postgresql-client",
    "php": "php-cli",
    "python": "python-is-python3",
    "python3": "python3",
    "ruby": "ruby",
}
_OF_VIRTUALENV = frozenset(
    [
        "arq",
        "celery",
        "daphne",
        "dramatiq",
        "flask",
        "gunicorn",
        "huey_consumer",
        "procrastinate",
        "rq",
        "uvicorn",
    ]
)
# programs that start the real one as a child and do not pass a signal on: the group has to get it
_WRAPPERS = frozenset(["sh", "bash", "dash", "npm", "npx", "yarn", "pnpm"])


class Command(Struct, frozen=True):
    """The words of a command, whether a shell runs it, and if it is a template with placeholders."""

    words: tuple[str, ...]
    shell: bool = False
    is_template: bool = False

    @property
    def program(self) -> str:
        """The bare word that has to be looked up; empty if the command begins with a path."""
        return "" if "/" in self.words[0] else self.words[0]

    @property
    def is_wrapped(self) -> bool:
        """Whether the program that matters is a child of the one that is started."""
        return self.shell or self.words[0].rpartition("/")[2] in _WRAPPERS


def search_path(project: Project, facts: ReleaseFacts) -> str:
    """Return where the programs of a project are looked up: virtualenv, node_modules/.bin, then its PATH."""
    own = [f"{facts.venv}/bin"] if facts.venv else []
    own += [f"{project.current}/node_modules/.bin"] if "package.json" in facts.files else []
    return ":".join([*own, project.path])


def command_of(
    name: str, table: WorkerTable | ScheduleTable, preset: Preset, facts: ReleaseFacts, where: str
) -> Command:
    """Return the command of the unit `name`: the user's own, the line of the Procfile, or the preset's template.

    Raises UserError for a command that is wrong or missing, and for options that it would not use.
    """
    if table.command is not None:
        command = _written(table.command, table.shell, f"{where}.command")
    elif preset.name == "procfile":
        line = _procfile_line(name, table.options, facts, where)
        command = _written(line, table.shell or needs_shell(line), f"{where}.options.line")
    else:
        command = _template(table, preset, facts, where)
    _refuse_idle_options(table, preset, command, where)
    return command


def _written(command: Written, shell: bool, where: str) -> Command:
    try:
        return Command(command_words(command, shell=shell), shell=shell)
    except UserError as error:
        raise UserError(error.message, where=where, hint=error.hint) from None


def _procfile_line(name: str, options: Values, facts: ReleaseFacts, where: str) -> str:
    """Return the command of the line that the option `line` names, of the line named as the unit without it."""
    lines = dict(facts.procfile)
    wanted = str(options.get("line") or _line_of(name, lines))
    if wanted not in lines:
        raise UserError(
            f"no line '{printable(wanted)}' in the Procfile{suggest(wanted, lines)}",
            where=f"{where}.options.line",
            hint=f"It has: {', '.join(lines)}. Name the worker like its line."
            if lines
            else "The release has no Procfile.",
        )
    return lines[wanted]


def _line_of(name: str, lines: Iterable[str]) -> str:
    """Return the line that a worker is named after; a name has no capitals, so its line may differ in them."""
    alike = [line for line in lines if line.lower() == name]
    return name if name in alike or len(alike) != 1 else alike[0]


def _template(table: WorkerTable | ScheduleTable, preset: Preset, facts: ReleaseFacts, where: str) -> Command:
    words = next((v.command for v in preset.variants if holds(v.when, facts) is not None), preset.command)
    if not words or table.shell:
        raise UserError(
            "the command is missing",
            where=where,
            hint='Write it, for example command = "php artisan thumbs:work" (after -- on the command line).',
        )
    return Command(words, is_template=True)


def _refuse_idle_options(
    table: WorkerTable | ScheduleTable, preset: Preset, command: Command, where: str
) -> None:
    """An option that changes nothing would be a lie in the project file."""
    words = command.words if command.is_template else ()
    used = used_in([*words, *preset.environment.values()]) | set(preset.stop.options)
    if preset.name == "procfile":
        used |= {"line"}
    for option in table.options:
        if option in preset.options and option not in used:
            why = "this project's command does not use it" if command.is_template else "the command is given"
            raise UserError(
                f"has no effect: {why}",
                where=f"{where}.options.{option}",
                hint="Remove the option, or write what you need into the command.",
            )


def filled(command: Command, values: Values, preset: Preset, where: str) -> Command:
    """Return a command with its placeholders filled in; raise UserError for an option that must have a value."""
    if not command.is_template:
        return command
    for name in sorted(used_in(command.words)):
        if name not in values and preset.options[name].required:
            raise _unknown(name, preset.options[name], preset, where)
    words = tuple(part for word in command.words for part in filled_word(word, values, preset.options))
    return Command(words)


def _unknown(name: str, option: Option, preset: Preset, where: str) -> UserError:
    return UserError(
        f"{preset.name} needs it, and nothing in the release tells it",
        where=f"{where}.options.{name}",
        hint=f'{option.help}. Set it in the project file: options.{name} = "…"',
    )


def argument_vector(command: Command, project: Project, programs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words ready for exec: the program absolute, a relative path below `current`.

    Raises HostError if `programs` does not have the program.
    """
    program, *arguments = command.words
    if not command.program:
        inside = program.removeprefix("./")
        return (program if program.startswith("/") else f"{project.current}/{inside}", *arguments)
    return (program_path(program, project, programs), *arguments)


def outlasting(argv: tuple[str, ...], signal: str) -> tuple[str, ...]:
    """Return the vector of `sh -c LINE` with a shell that stays until what it runs has ended, if all get `signal`.

    A shell without a trap ends at once. That would be taken for the end of the worker, while its program goes on
    with its job and nobody stops it. A trap waits for the command in the foreground (POSIX XCU 2.11), and what
    the shell starts does not inherit it.
    """
    return (*argv[:-1], f"trap exit {signal}; {argv[-1]}")


def program_path(word: str, project: Project, programs: Mapping[str, str]) -> str:
    """Return the absolute path of a looked-up word; raise HostError if it was not found."""
    path = programs.get(word)
    if not path:
        raise HostError(f"cannot find {word} for {project.name}", hint=_how_to_get(word, project))
    return path


def _how_to_get(word: str, project: Project) -> str:
    pin = f'pin its path in the project file: [project.interpreters] {word} = "/…/{word}"'
    if word in _OF_VIRTUALENV:
        return f"Install it into the project's virtualenv ({project.current}/.venv), or {pin}"
    install = f"Install it (apt-get install {_DEBIAN[word]})" if word in _DEBIAN else "Install it"
    return f"{install}, or {pin}"
