"""Program files: what a worker means arrives at the real Supervisor exactly, or is refused with a reason."""

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from supervisor.options import ServerOptions, UnhosedConfigParser, expand
from supervisor.process import Subprocess
from tests.supervisor_programs import ENVIRONMENTS, NAMES, PROGRAM, UNQUOTED, WORDS, worker

from shiftboss.backends.supervisor_conf import check, program_of, render
from shiftboss.backends.supervisor_names import process_name, supervisor_name
from shiftboss.backends.supervisor_rules import read_program
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.managed import seal
from shiftboss.core.spec import Account, Environment, LogPolicy, Project, Restart, StopPolicy, Worker


class Reading:
    """A file as the real Supervisor reads it, as one that is included in a supervisord.conf."""

    def __init__(self, directory: Path, text: str) -> None:
        self.file = directory / "program.conf"
        self.file.write_text(seal(text, "myapp/queue", comment=";"), encoding="utf-8")
        main = directory / "supervisord.conf"
        main.write_text(
            f"[supervisord]\nlogfile={directory}/log\n[include]\nfiles={directory}/program.conf\n"
        )
        self.options = ServerOptions()
        self.options.here = str(directory)
        section = self.options.read_config(str(main))
        (self.group,) = section.process_group_configs
        self.processes = self.group.process_configs

    @property
    def argv(self) -> tuple[str, ...]:
        return tuple(Subprocess(self.processes[0]).get_execv_args()[1])

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.processes[0].environment)

    @property
    def environment_by_4_4(self) -> dict[str, str]:
        """The parser of Supervisor 4.4 (datatypes.py): POSIX quotes, nothing stripped."""
        parser = UnhosedConfigParser()
        parser.read(str(self.file), encoding="utf-8")
        parser.expand_here("/here")
        raw = parser.get("program:myapp_queue", "environment")
        lexer = shlex.shlex(expand(raw, {"program_name": "myapp_queue"}, "environment"), posix=True)
        lexer.wordchars += "/.+-():"
        tokens = list(lexer)
        return {tokens[i]: tokens[i + 2] for i in range(0, len(tokens), 4)}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@given(argv=WORDS)
@example(argv=(PROGRAM, "a ; b", "", " ", "%(here)s", "é;", "it's", '"', "\\", "x "))
def test_words_arrive_as_written(directory: Path, argv: tuple[str, ...]) -> None:
    unit = worker(argv, logs=str(directory))
    assert Reading(directory, render(unit, system=True)).argv == argv


@given(environment=ENVIRONMENTS)
@example(environment=(("A", "x ; y"), ("B", "%(here)s"), ("C", "it's \\n"), ("D", ""), ("E", '{"a": "b c"}')))
def test_variables_arrive_as_written_or_are_refused_by_name(
    directory: Path, environment: Environment
) -> None:
    unit = worker(environment=environment, logs=str(directory))
    refused = refused_variable(unit)
    if refused:
        assert refused in dict(environment)
        return
    text = render(unit, system=True)
    reading = Reading(directory, text)
    expected = dict(program_of(unit, system=True).environment)
    assert expected.items() >= dict(environment).items()
    assert reading.environment == expected
    assert reading.environment_by_4_4 == expected


def refused_variable(unit: Worker) -> str:
    """Return the variable that `render` names in its refusal, an empty string if it does not refuse."""
    try:
        render(unit, system=True)
    except UserError as error:
        return error.message.split()[5]
    return ""


@given(value=UNQUOTED)
def test_a_value_without_quotes_is_never_refused(value: str) -> None:
    assert render(worker(environment=(("KEY", value),)), system=True)


@given(path=UNQUOTED.map(lambda text: f"/srv/{text.replace('/', '')}/x"))
@example(path="/srv/100% ; %(here)s %%/x")
def test_directory_and_log_arrive_as_written(directory: Path, path: str) -> None:
    unit = worker(directory=path, logs=f"{directory}{path}")
    Path(unit.project.logs).mkdir(parents=True, exist_ok=True)
    (process,) = Reading(directory, render(unit, system=True)).processes
    assert (process.directory, process.stdout_logfile) == (unit.project.current, unit.log_path)


@given(argv=WORDS, environment=st.dictionaries(NAMES, UNQUOTED, max_size=3).map(lambda d: tuple(d.items())))
def test_the_check_reads_what_was_meant(argv: tuple[str, ...], environment: Environment) -> None:
    unit = worker(argv, environment, processes=2)
    text = seal(render(unit, system=True), unit.address, comment=";")
    check(text, {"root"}, {"/tmp"}, meant=program_of(unit, system=True))


def test_every_option_means_to_supervisor_what_it_means_to_us(directory: Path) -> None:
    unit = worker(
        logs=str(directory),
        stop=StopPolicy("QUIT", 75, "group"),
        start_seconds=3,
        log=LogPolicy(1_000_000, 7),
    )
    reading = Reading(directory, render(unit, system=True))
    (process,) = reading.processes
    assert (reading.group.name, process.name) == ("myapp_queue", "myapp_queue")
    assert (process.uid, process.directory) == (0, "/srv/current")
    assert (process.autostart, process.autorestart.__name__) == (True, "RestartUnconditionally")
    assert (process.startsecs, process.startretries) == (3, 60)
    assert (process.stopsignal.name, process.stopwaitsecs) == ("SIGQUIT", 75)
    assert (process.stopasgroup, process.killasgroup) == (True, True)
    assert (process.redirect_stderr, process.stdout_logfile) == (True, f"{directory}/queue.log")
    assert (process.stdout_logfile_maxbytes, process.stdout_logfile_backups) == (1_000_000, 7)


def test_the_retries_last_half_an_hour() -> None:
    assert sum(range(1, program_of(worker(), system=True).start_retries + 1)) == 1830


def test_stop_scope_main_signals_the_main_process_alone_but_kills_the_group(directory: Path) -> None:
    unit = worker(logs=str(directory), stop=StopPolicy("TERM", 10, "main"))
    (process,) = Reading(directory, render(unit, system=True)).processes
    assert (process.stopasgroup, process.killasgroup) == (False, True)


def test_several_processes_have_numbers_and_leave_rotation_to_logrotate(directory: Path) -> None:
    unit = worker(logs=str(directory), processes=3)
    reading = Reading(directory, render(unit, system=True))
    assert [p.name for p in reading.processes] == ["myapp_queue_00", "myapp_queue_01", "myapp_queue_02"]
    assert {p.stdout_logfile_maxbytes for p in reading.processes} == {0}
    assert [process_name(unit, n) for n in (1, 2, 3)] == [f"myapp_queue:{p.name}" for p in reading.processes]


def test_one_process_is_called_like_its_program() -> None:
    assert process_name(worker(), 1) == "myapp_queue:myapp_queue"
    assert supervisor_name("myapp", "queue") == "myapp_queue"


def test_the_project_users_own_variables_replace_those_of_root() -> None:
    account = Account("myapp_user", 1007, 1008, "myapp_user", "/home/my app")
    project = Project(
        "myapp", "/srv", "/tmp", account, (("TZ", "UTC"), ("A", "project")), "/opt/php/bin:/bin"
    )
    unit = replace(worker(environment=(("A", "worker"), ("LANG", "lv_LV.UTF-8"))), project=project)
    assert dict(program_of(unit, system=True).environment) == {
        "HOME": "/home/my app",
        "USER": "myapp_user",
        "LOGNAME": "myapp_user",
        "PATH": "/opt/php/bin:/bin",
        "LANG": "lv_LV.UTF-8",
        "TZ": "UTC",
        "A": "worker",
    }


def test_only_a_system_supervisor_switches_the_user() -> None:
    assert "\nuser=root\n" in render(worker(), system=True)
    assert "user=" not in render(worker(), system=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": (("KEY", "both ' and \" in it"),)}, "both kinds of quotes"),
        ({"environment": (("KEY", '"quoted"'),)}, "begins or ends with a quote"),
        ({"environment": (("KEY", "it's C:\\\\dir"),)}, "backslash"),
        ({"environment": (("KEY", "it's C:\\"),)}, "backslash"),
        ({"environment": (("KEY", "two\nlines"),)}, "line break"),
        ({"environment": (("KEY", "\udcff"),)}, "broken UTF-8"),
        ({"environment": (("MY-KEY", "x"),)}, "not a name"),
        ({"argv": (PROGRAM, "two\nlines")}, "command"),
        ({"argv": (PROGRAM, "\0")}, "command"),
        ({"argv": (PROGRAM, "\udcff")}, "command"),
        ({"stop": StopPolicy("TREM")}, "no signal: 'TREM'"),
        ({"stop": StopPolicy("_DFL")}, "no signal"),
        ({"log": LogPolicy(3 * 1024**3)}, "Supervisor takes 2147483647"),
    ],
)
def test_what_supervisor_cannot_be_told_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        render(worker(**changes), system=True)  # type: ignore[arg-type]
    assert "myapp/queue" in refused.value.message
    assert refused.value.hint.endswith(".")


def test_a_value_that_is_refused_is_not_shown() -> None:
    with pytest.raises(UserError) as refused:
        render(worker(environment=(("PASSWORD", "hunter2 ' \""),)), system=True)
    assert "hunter2" not in f"{refused.value.message} {refused.value.hint}"


GOOD = render(worker(processes=2), system=True)

# What one wrong file would do to the reread of all projects: each is refused by us as by Supervisor itself.
REFUSED_BY_BOTH = {
    "boolean": ("autostart=true", "autostart=perhaps"),
    "restart": ("autorestart=true", "autorestart=sometimes"),
    "integer": ("startsecs=1", "startsecs=soon"),
    "size": ("stdout_logfile_maxbytes=0", "stdout_logfile_maxbytes=1TB"),
    "signal": ("stopsignal=TERM", "stopsignal=TREM"),
    "user": ("user=root", "user=nobody-of-that-name"),
    "log directory": ("stdout_logfile=/tmp/", "stdout_logfile=/tmp/is-not-there/"),
    "name without number": ("_%(process_num)02d", ""),
    "unknown expansion": ("command=", "command=%(nothing)s "),
    "lonely percent": ("command=", "command=100% "),
    "group kill": ("killasgroup=true", "killasgroup=false"),
    "variables": ("environment=", "environment=A B C"),
    "open quote in variables": ('LANG="C.UTF-8"', 'LANG="C.UTF-8'),
    "text without a section": ("[program:myapp_queue]", ""),
    "name of a program": ("[program:myapp_queue]", "[program:my/app]"),
    "line that is none": ("redirect_stderr=true", "redirect_stderr"),
    "no command": ("command=", "komand="),
}


@pytest.mark.parametrize("change", REFUSED_BY_BOTH.values(), ids=REFUSED_BY_BOTH)
def test_the_check_refuses_what_supervisor_refuses(directory: Path, change: tuple[str, str]) -> None:
    Reading(directory, GOOD)
    check(GOOD, {"root"}, {"/tmp"})
    broken = GOOD.replace(*change)
    assert broken != GOOD
    with pytest.raises(ValueError):
        Reading(directory, broken)
    with pytest.raises((UserError, HostError)):
        check(broken, {"root"}, {"/tmp"})


# What Supervisor takes without a word, but does not do, or does to others.
REFUSED_BY_US = {
    "misspelt option": ("startsecs=1", "startsecs=1\nstartsec=5"),
    "missing option": ("killasgroup=true\n", ""),
    "second program": ("[program:myapp_queue]", "[program:other]\ncommand=x\n[program:myapp_queue]"),
    "defaults of all": ("[program:myapp_queue]", "[DEFAULT]\nuser=root\n[program:myapp_queue]"),
    "open quote in the command": ("-c true", "-c 'true"),
    "number for a user": ("user=root", "user=0"),
}


@pytest.mark.parametrize("change", REFUSED_BY_US.values(), ids=REFUSED_BY_US)
def test_the_check_refuses_what_supervisor_would_pass_over(change: tuple[str, str]) -> None:
    broken = GOOD.replace(*change)
    assert broken != GOOD
    with pytest.raises(UserError):
        check(broken, {"root", "0"}, {"/tmp"})


@pytest.mark.parametrize(
    "change",
    [
        ("-c true", "-c 'a ; b'"),  # an inline comment in quotes: the quote stays open
        ("-c true", "-c true b"),
        ('LANG="C.UTF-8"', 'LANG="C"'),
        ("startsecs=1", "startsecs=2"),
        ("stopsignal=TERM", "stopsignal=KILL"),
        ("numprocs=2", "numprocs=3"),
        ("directory=/srv", "directory=/srv ; x"),
    ],
)
def test_the_check_refuses_a_file_that_says_something_else(change: tuple[str, str]) -> None:
    other = GOOD.replace(*change)
    assert other != GOOD
    try:
        check(other, {"root"}, {"/tmp"}, meant=program_of(worker(processes=2), system=True))
    except (AssertionError, UserError):
        return
    pytest.fail("the difference was not seen")


@pytest.mark.parametrize(
    ("wish", "told"), [("always", "true"), ("on-failure", "unexpected"), ("never", "false")]
)
def test_the_restart_policy_is_told_in_supervisors_words(wish: Restart, told: str) -> None:
    text = render(replace(worker(), restart=wish, restart_limit=7), system=True)

    assert f"\nautorestart={told}\n" in text
    assert "\nstartretries=7\n" in text
    assert read_program(text).autorestart == told


def test_an_env_file_is_refused_because_supervisor_would_not_read_it() -> None:
    with pytest.raises(UserError, match="Supervisor cannot read the env_file of myapp/queue"):
        render(replace(worker(), env_file="/srv/.env"), system=True)
