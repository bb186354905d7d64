"""Presets: units as data. The types of a preset file, and its reading with errors that name the key.

A preset says what a project must look like to need it, the command with `{placeholders}`, the options that
fill them, and how the program behaves when it is stopped, restarted or fails. No code belongs to one preset.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from shiftboss.core.errors import UserError
from shiftboss.core.names import check_name
from shiftboss.core.release import ENV_KEYS
from shiftboss.core.run_policy import Overlap
from shiftboss.core.spec import StopScope, UnitKind

Value = str | int | float | bool
OptionType = Literal["string", "words", "integer", "number", "boolean"]

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
# filled in from the project, not from options; {shared} is where files that outlive a release belong
CONTEXT = frozenset({"project", "unit", "root", "shared"})
# signal(7), without those that cannot ask a process to end
SIGNALS = frozenset(
    ["ABRT", "ALRM", "HUP", "INT", "KILL", "PIPE", "QUIT", "TERM", "TRAP", "USR1", "USR2", "VTALRM", "WINCH"]
)
_NUMERIC = frozenset({"integer", "number"})


class Option(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An option of a preset.

    Without a value in the project file it takes its `guess` (a key of `ReleaseFacts.guesses`, or `env.KEY`),
    then its `default`; an option without any value drops the words that it stands in. `required` refuses
    that. A boolean puts its `flag` in place of its placeholder, `words` become several words.
    `job_timeout` marks the option that says how long a job may take, in seconds. `below` names the option that it
    must be less than; `below_why` says what goes wrong otherwise.
    """

    type: OptionType
    help: str
    default: Value | None = None
    guess: str = ""
    min: float | None = None
    max: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    flag: str = ""
    job_timeout: bool = False
    below: str = ""
    below_why: str = ""


class StopRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the program is stopped: seconds are `margin` plus the values of the `options` that have one.

    If none of them has, it is `default`. `scope` is who gets the signal; SIGKILL always goes to the
    whole group. `scope_warning` says what goes wrong when the project file asks for the other scope.
    """

    margin: int
    signal: str = "TERM"
    scope: StopScope = "main"
    options: tuple[str, ...] = ()
    default: int | None = None
    scope_warning: str = ""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds if every field that is given holds.

    `files`: all exist; `any_file`: one of them; `php`, `npm`, `python`, `ruby`: one of these packages is a
    dependency; `guesses`: all are known, `no_guesses`: none is; `env`: the key has one of these values
    in .env, `env_not`: it has none of them (or is absent).
    """

    files: tuple[str, ...] = ()
    any_file: tuple[str, ...] = ()
    php: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    ruby: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    no_guesses: tuple[str, ...] = ()
    env: dict[str, tuple[str, ...]] = {}
    env_not: dict[str, tuple[str, ...]] = {}


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another command for projects on which `when` holds."""

    when: Condition
    command: tuple[str, ...]


class Caution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to tell the user if `when` holds; `unproposed` keeps the preset out of proposals then."""

    when: Condition
    text: str
    unproposed: bool = False


class Deploy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deploy needs: nothing (`none`), a restart one by one (`rolling`) or all at once (`restart`).

    `commands` are run in the release afterwards, as the project's user, where they exist.
    """

    action: Literal["none", "rolling", "restart"] = "restart"
    commands: tuple[tuple[str, ...], ...] = ()
    note: str = ""


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one sees that it works: an HTTP path or a TCP connect on its `port` option, or a command's exit 0."""

    http: str = ""
    tcp: bool = False
    command: tuple[str, ...] = ()
    note: str = ""


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One preset file. `verified` is whether we ran it for real; `source` is where its facts come from.

    `simpler` names the preset that takes its place in a project that it does not fit and that one does.
    `singleton` is the reason why only one process may run; `singleton_unless` names the boolean option that
    takes the reason away.
    Of a schedule: `overlap` is what it needs, `tasks_inside`: its command has tasks with times of their own,
    `leaves_background`: what a run leaves behind is meant to live on.
    """

    name: str
    summary: str
    kind: UnitKind
    unit: str
    source: str
    verified: bool
    rank: int
    group: Literal["", "queue", "node"] = ""
    aliases: tuple[str, ...] = ()
    simpler: str = ""
    command: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    needs: tuple[str, ...] = ()
    cron: str = ""
    overlap: Overlap = "skip"
    tasks_inside: bool = False
    leaves_background: bool = False
    processes: int = 1
    singleton: str = ""
    singleton_unless: str = ""
    start_seconds: int = 3
    stop: StopRule
    options: dict[str, Option] = {}
    environment: dict[str, str] = {}
    exit_codes: dict[int, str] = {}
    detect: tuple[Condition, ...] = ()
    excludes: tuple[str, ...] = ()
    procfile_words: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()
    deploy: Deploy = Deploy()
    health: Health = Health()


def read_preset(name: str, table: Mapping[str, Any]) -> Preset:
    """Read the parsed TOML of the preset file `name`; raise UserError that names the key.

    The table `example` is for tests and is passed over.
    """
    where = f"presets/{name}.toml"
    content = {key: value for key, value in table.items() if key != "example"}
    try:
        preset = msgspec.convert({**content, "name": name}, Preset, str_keys=True)
    except msgspec.ValidationError as error:
        raise UserError(f"not a preset: {error}", where=where, hint="Correct the file.") from None
    problem = next(iter(_problems(preset)), "")
    if problem:
        raise UserError(problem, where=where, hint="Correct the file.")
    return preset


def _problems(preset: Preset) -> Iterable[str]:
    """Yield what is wrong with a preset though its types are right."""
    check_name(preset.unit, "worker or schedule")
    yield from _kind_problems(preset)
    yield from _placeholder_problems(preset)
    for name, option in preset.options.items():
        yield from (f"options.{name}: {problem}" for problem in _option_problems(name, option))
    yield from _stop_problems(preset)
    yield from (f"exit_codes: {code} is no exit code" for code in preset.exit_codes if not 0 <= code <= 255)


def _kind_problems(preset: Preset) -> Iterable[str]:
    if (preset.kind == "schedule") != bool(preset.cron):
        yield "cron: a schedule has one, a worker has none"
    if preset.kind == "worker" and (
        preset.overlap != "skip" or preset.tasks_inside or preset.leaves_background
    ):
        yield "overlap, tasks_inside, leaves_background: only a schedule has them"
    if preset.singleton and preset.processes != 1:
        yield "processes: a singleton has one"
    freed_by = preset.options.get(preset.singleton_unless)
    if preset.singleton_unless and (freed_by is None or freed_by.type != "boolean"):
        yield f"singleton_unless: {preset.singleton_unless!r} is not a boolean option"
    if not preset.source:
        yield "source: missing"


def _placeholder_problems(preset: Preset) -> Iterable[str]:
    commands = [preset.command, preset.health.command, *(variant.command for variant in preset.variants)]
    defaults = [o.default for o in preset.options.values() if isinstance(o.default, str)]
    for text in [word for command in commands for word in command] + list(preset.environment.values()):
        for name in PLACEHOLDER.findall(text):
            if name not in preset.options and name not in CONTEXT:
                yield f"command or environment: there is no option {name!r}"
    for text in defaults:
        if not CONTEXT.issuperset(PLACEHOLDER.findall(text)):
            yield f"options: the default {text!r} may only name {', '.join(sorted(CONTEXT))}"


def _option_problems(name: str, option: Option) -> Iterable[str]:
    if name in CONTEXT or not PLACEHOLDER.fullmatch(f"{{{name}}}"):
        yield "not a name for an option"
    if (option.type == "boolean") != bool(option.flag):
        yield "a boolean has a flag, no other type has"
    if option.job_timeout and option.type not in _NUMERIC:
        yield "job_timeout must be a number of seconds"
    if option.guess.startswith("env.") and option.guess[4:] not in ENV_KEYS:
        yield f"{option.guess} is not among the keys that are read from .env"
    if option.default is not None and not _has_type(option.default, option.type):
        yield f"the default is not of type {option.type}"


def _has_type(value: Value, kind: OptionType) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float)
    return isinstance(value, int if kind == "integer" else str)


def _stop_problems(preset: Preset) -> Iterable[str]:
    if preset.stop.signal not in SIGNALS:
        yield f"stop.signal: {preset.stop.signal!r} cannot ask a process to end"
    for name in preset.stop.options:
        if name not in preset.options or preset.options[name].type not in _NUMERIC:
            yield f"stop.options: {name!r} is not an option with a number"
    for name, option in preset.options.items():
        if option.below and (option.below not in preset.options or not option.below_why):
            yield f"options.{name}: below names no option, or does not say why"
        if option.job_timeout and name not in preset.stop.options:
            yield f"stop.options: the job timeout {name!r} must be among them"
