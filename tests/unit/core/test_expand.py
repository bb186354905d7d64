"""From tables of the project file to workers and schedules: commands, options, stop policy, environment."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.release_tree import ACCOUNT, PROJECT, facts_of

from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.expand import expand_schedule, expand_worker, programs_needed, search_path
from shiftboss.core.release import ReleaseFacts
from shiftboss.core.spec import DEFAULT_PATH, LogPolicy, Project, Schedule, StopPolicy, Worker
from shiftboss.core.tables import ScheduleTable, WorkerTable
from shiftboss.setup.detect import load_preset, preset_names

LARAVEL = facts_of({"artisan": "", "composer.json": '{"require": {"laravel/framework": "^11"}}'})
PROCFILE = facts_of({"Procfile": "mails: php artisan queue:work --queue=mails\nclock: A=1 php x $Y\n"})
PROGRAMS = {
    word: f"/usr/bin/{word}"
    for word in (
        "php",
        "node",
        "npm",
        "python3",
        "python",
        "celery",
        "rq",
        "huey_consumer",
        "pg_dump",
        "bundle",
        "ruby",
    )
}
WHERE = "shop.toml: workers.queue"


def worker(
    keys: dict[str, Any],
    facts: ReleaseFacts = LARAVEL,
    project: Project = PROJECT,
    programs: dict[str, str] = PROGRAMS,
    name: str = "queue",
) -> Worker:
    table = msgspec.convert(keys, WorkerTable)
    preset = load_preset(table.preset) if table.preset else None
    return expand_worker(name, table, preset, project, facts, programs, WHERE, "supervisor")


def schedule(keys: dict[str, Any], facts: ReleaseFacts = LARAVEL) -> Schedule:
    table = msgspec.convert(keys, ScheduleTable)
    preset = load_preset(table.preset) if table.preset else None
    return expand_schedule(
        "backup", table, preset, PROJECT, facts, PROGRAMS, "shop.toml: schedules.backup", "cron"
    )


class Refusal(NamedTuple):
    """What a user is told: where, what, and what to do."""

    where: str
    message: str
    hint: str


def refusal(keys: dict[str, Any], facts: ReleaseFacts = LARAVEL) -> Refusal:
    with pytest.raises(UserError) as caught:
        worker(keys, facts)
    where, message = caught.value.where, str(caught.value)
    assert where.startswith(WHERE)
    assert message.startswith(f"{where}: ")
    assert "\n" not in message
    assert caught.value.hint
    return Refusal(where, message.removeprefix(f"{where}: "), caught.value.hint)


# Commands


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("php artisan thumbs:work", ("/usr/bin/php", "artisan", "thumbs:work")),
        (["php", "artisan", "a b", "$x"], ("/usr/bin/php", "artisan", "a b", "$x")),
        ("php artisan x '--a={queue}'", ("/usr/bin/php", "artisan", "x", "--a={queue}")),
        ("./bin/worker -v", ("/srv/shop/current/bin/worker", "-v")),
        ("bin/worker", ("/srv/shop/current/bin/worker",)),
        ("../shared/worker", ("/srv/shop/current/../shared/worker",)),
        ("/opt/worker 100% ü", ("/opt/worker", "100%", "ü")),
    ],
)
def test_a_command_of_the_user_becomes_absolute_and_is_otherwise_untouched(
    command: str | list[str], argv: tuple[str, ...]
) -> None:
    unit = worker({"command": command})
    assert (unit.argv, unit.preset, unit.backend) == (argv, "custom", "supervisor")


def test_the_default_of_a_command_is_term_to_the_main_process_and_30_seconds() -> None:
    unit = worker({"command": "php artisan thumbs:work"})
    assert unit.stop == StopPolicy("TERM", 30, "main")
    assert (unit.processes, unit.start_seconds, unit.log, unit.environment) == (1, 3, LogPolicy(), ())


@pytest.mark.parametrize(
    "keys",
    [
        {"command": "a | b", "shell": True}, {"command": "npm run work"}, {"command": ["sh", "-c", "a; b"]},
        {"command": "/usr/bin/npm run work"}, {"command": "yarn work"},
    ],
)  # fmt: skip
def test_what_a_shell_or_npm_starts_is_stopped_as_a_group(keys: dict[str, Any]) -> None:
    programs = PROGRAMS | {"sh": "/bin/sh", "yarn": "/usr/bin/yarn"}
    assert worker(keys, programs=programs).stop.scope == "group"


def test_a_shell_command_needs_no_program_to_be_looked_up() -> None:
    unit = worker({"command": "cd x && php y", "shell": True}, programs={})
    assert unit.argv == ("/bin/sh", "-c", "trap exit TERM; cd x && php y")


def test_the_shell_of_a_worker_outlasts_its_program_and_that_of_a_schedule_is_as_written() -> None:
    """Both get the signal. A shell that goes first leaves a program that nobody stops."""
    line = {"command": "a | b", "shell": True}
    assert worker({**line, "stop_signal": "QUIT"}).argv[-1] == "trap exit QUIT; a | b"
    assert worker({**line, "stop_scope": "main"}).argv[-1] == "a | b"
    assert worker({"command": ["sh", "-c", "a | b"]}, programs={"sh": "/bin/sh"}).argv[-1] == "a | b"
    assert schedule({**line, "cron": "0 2 * * *"}).argv[-1] == "a | b"


@pytest.mark.parametrize("command", ["", "a && b", "a\nb", "a\0b", "a 'b", [], [""]])
def test_a_wrong_command_is_refused_and_the_key_is_named(command: str | list[str]) -> None:
    assert refusal({"command": command}).where == f"{WHERE}.command"


def test_a_worker_without_preset_and_command_is_refused() -> None:
    assert refusal({}).message == "the command is missing"
    assert refusal({"preset": "laravel-queue", "shell": True}).message == "the command is missing"


def test_a_program_that_is_not_there_is_the_machines_fault_and_the_package_is_named() -> None:
    with pytest.raises(HostError) as caught:
        worker({"preset": "laravel-queue"}, programs={})
    assert caught.value.message == "cannot find php for shop"
    assert "apt-get install php-cli" in caught.value.hint
    assert "[project.interpreters]" in caught.value.hint


def test_a_program_of_python_is_to_be_installed_into_the_virtualenv() -> None:
    with pytest.raises(HostError) as caught:
        worker({"preset": "celery-worker", "options": {"app": "shop"}}, programs={})
    assert "virtualenv (/srv/shop/current/.venv)" in caught.value.hint


def test_a_command_of_the_user_keeps_what_else_the_preset_knows() -> None:
    unit = worker({"preset": "celery-worker", "command": "celery -A shop worker -Q high"})
    assert unit.argv == ("/usr/bin/celery", "-A", "shop", "worker", "-Q", "high")
    assert unit.stop == StopPolicy("TERM", 600, "main")
    assert unit.preset == "celery-worker"


def test_braces_in_a_value_are_not_filled_in_again() -> None:
    unit = worker({"preset": "laravel-queue", "options": {"queue": "{timeout}"}})
    assert "--queue={timeout}" in unit.argv


# Looking programs up


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"preset": "laravel-queue"}, ("php",)),
        ({"preset": "npm-start"}, ("npm", "node")),
        ({"preset": "solid_queue"}, ("ruby",)),
        ({"command": "php x"}, ("php",)),
        ({"command": "/opt/php x"}, ()),
        ({"command": "bin/x"}, ()),
        ({"command": "php x", "shell": True}, ()),
    ],
)
def test_which_words_are_looked_up(keys: dict[str, Any], words: tuple[str, ...]) -> None:
    table = msgspec.convert(keys, WorkerTable)
    preset = load_preset(table.preset) if table.preset else None
    assert programs_needed("queue", table, preset, LARAVEL, WHERE) == words


def test_programs_are_looked_up_in_the_virtualenv_and_node_modules_before_the_path() -> None:
    facts = facts_of({".venv/bin/python3": "", "package.json": "{}"})
    assert search_path(PROJECT, facts).split(":")[:2] == [
        "/srv/shop/current/.venv/bin",
        "/srv/shop/current/node_modules/.bin",
    ]
    assert search_path(PROJECT, LARAVEL) == DEFAULT_PATH


def test_a_program_outside_the_path_brings_its_directory_into_the_path_of_the_unit() -> None:
    programs = {"npm": "/opt/node22/bin/npm", "node": "/opt/node22/bin/node"}
    unit = worker({"preset": "npm-start"}, facts_of({"package.json": "{}"}), programs=programs)
    assert dict(unit.environment)["PATH"] == f"/opt/node22/bin:{DEFAULT_PATH}"
    assert "PATH" not in dict(worker({"preset": "npm-start"}).environment)


def test_a_shell_finds_the_programs_of_the_virtualenv() -> None:
    facts = facts_of({"venv/bin/python3": ""})
    unit = worker({"command": "python a.py | tee b", "shell": True}, facts)
    assert dict(unit.environment)["PATH"] == f"/srv/shop/current/venv/bin:{DEFAULT_PATH}"


@pytest.mark.parametrize("place", ["project", "unit"])
def test_a_path_that_the_user_sets_is_left_alone(place: str) -> None:
    project = PROJECT
    keys: dict[str, Any] = {"preset": "npm-start"}
    if place == "project":
        project = Project("shop", "/srv/shop", "/var/log/shop", ACCOUNT, (("PATH", "/mine"),))
    else:
        keys["environment"] = {"PATH": "/mine"}
    unit = worker(keys, programs={"npm": "/opt/npm", "node": "/opt/node"}, project=project)
    assert dict(unit.environment).get("PATH") == (None if place == "project" else "/mine")


# Options


def test_options_are_put_into_the_command_and_unset_ones_drop_their_word() -> None:
    options = {"connection": "redis", "queue": "high,default", "tries": 5, "timeout": 120, "force": True}
    assert worker({"preset": "laravel-queue", "options": options}).argv == (
        "/usr/bin/php", "artisan", "queue:work", "redis", "--queue=high,default", "--sleep=3", "--tries=5",
        "--timeout=120", "--max-time=3600", "--max-jobs=1000", "--memory=128", "--force",
    )  # fmt: skip


@pytest.mark.parametrize("preset", ["laravel-queue", "procfile"])
def test_a_key_or_value_with_a_line_break_gives_an_error_of_one_line(preset: str) -> None:
    assert "a?b" in refusal({"preset": preset, "options": {"a\nb": "x"}}, PROCFILE).where
    assert "\n" not in refusal({"preset": preset, "options": {"a\nb": "x", "line": "x\ny"}}, PROCFILE).message


def test_an_empty_text_takes_a_default_away() -> None:
    assert not [
        word
        for word in worker({"preset": "laravel-queue", "options": {"queue": ""}}).argv
        if "queue=" in word
    ]


def test_false_leaves_a_flag_out() -> None:
    assert "--force" not in worker({"preset": "laravel-queue", "options": {"force": False}}).argv


def test_words_become_several_arguments() -> None:
    unit = worker({"preset": "rq", "options": {"queues": "high default 'a b'"}})
    assert unit.argv == ("/usr/bin/rq", "worker", "high", "default", "a b")


def test_what_the_project_file_says_goes_before_what_the_release_tells() -> None:
    facts = facts_of({".env": "PORT=9000", "main.py": "app = FastAPI()\n", "requirements.txt": "uvicorn"})
    programs = {"uvicorn": "/usr/bin/uvicorn"}
    assert "--port=9000" in worker({"preset": "uvicorn"}, facts, programs=programs).argv
    mine = worker({"preset": "uvicorn", "options": {"port": 9100, "app": "x:y"}}, facts, programs=programs)
    assert {"--port=9100", "x:y"} <= set(mine.argv)


@pytest.mark.parametrize("port", ["99999", "0", "abc", "-1", "8000000000000"])
def test_a_useless_value_in_env_counts_as_none(port: str) -> None:
    facts = facts_of({"artisan": "", ".env": f"REVERB_SERVER_PORT={port}"})
    assert "--port=8080" in worker({"preset": "laravel-reverb"}, facts).argv


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tmeout": 5}, "laravel-queue has no such option (did you mean 'timeout'?)"),
        ({"timeout": "60"}, "must be a whole number, not '60'"),
        ({"timeout": True}, "must be a whole number, not True"),
        ({"timeout": 1.5}, "must be a whole number, not 1.5"),
        ({"timeout": 0}, "must be at least 1"),
        ({"memory": 1_000_000}, "must be at most 65536"),
        ({"queue": 5}, "must be text in quotes, not 5"),
        ({"queue": "a\nb"}, "contains a control character"),
        ({"queue": "a\0"}, "contains a control character"),
        ({"force": "yes"}, "must be true or false, not 'yes'"),
    ],
)
def test_a_wrong_option_is_refused_and_named(options: dict[str, Any], complaint: str) -> None:
    error = refusal({"preset": "laravel-queue", "options": options})
    assert error.message == complaint
    assert error.where == f"{WHERE}.options.{next(iter(options))}"


def test_a_choice_that_is_none_is_refused_with_the_choices() -> None:
    error = refusal({"preset": "laravel-octane", "options": {"server": "swole"}})
    assert error.message == "must be one of frankenphp, swoole, roadrunner (did you mean 'swoole'?)"


def test_words_that_cannot_be_split_are_refused() -> None:
    assert "cannot be split" in refusal({"preset": "rq", "options": {"queues": "a 'b"}}).message


def test_an_option_that_nothing_tells_must_be_set() -> None:
    error = refusal({"preset": "celery-worker"})
    assert error.where == f"{WHERE}.options.app"
    assert 'options.app = "…"' in error.hint


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"preset": "laravel-queue", "command": "php artisan queue:work", "options": {"tries": 5}}, LARAVEL),
        ({"preset": "huey", "options": {"app": "x.y"}}, facts_of({"manage.py": ""})),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(keys: dict[str, Any], facts: ReleaseFacts) -> None:
    assert refusal(keys, facts).message.startswith("has no effect")


def test_a_variant_of_the_command_is_used_where_it_fits() -> None:
    unit = worker({"preset": "huey"}, facts_of({"manage.py": "", "requirements.txt": "huey"}))
    assert unit.argv == ("/usr/bin/python3", "manage.py", "run_huey", "--workers=4", "--worker-type=thread")


def test_npm_start_that_is_simply_node_runs_node_with_its_flags_and_arguments() -> None:
    facts = facts_of({"package.json": '{"scripts": {"start": "node --expose-gc app.js --port 80"}}'})
    assert worker({"preset": "node"}, facts).argv == (
        "/usr/bin/node",
        "--expose-gc",
        "app.js",
        "--port",
        "80",
    )


def test_a_file_that_is_no_path_inside_the_release_is_not_started() -> None:
    facts = facts_of({"package.json": '{"main": "--eval=process.exit()"}'})
    assert refusal({"preset": "node"}, facts).where == f"{WHERE}.options.file"


def test_the_schedule_of_beat_outlives_a_release() -> None:
    keys = {"preset": "celery-beat", "options": {"app": "shop"}}
    shared = worker(keys, facts_of({"../shared/": ""}))
    assert "--schedule=/srv/shop/shared/celerybeat-schedule-shop" in shared.argv
    assert "--schedule=/home/shop_user/celerybeat-schedule-shop" in worker(keys).argv


# Procfile


def test_a_procfile_worker_follows_the_line_of_its_name() -> None:
    assert worker({"preset": "procfile"}, PROCFILE, name="mails").argv[-1] == "--queue=mails"


def test_a_procfile_worker_follows_a_line_whose_name_has_capitals() -> None:
    """A worker's name has none; of two lines that differ only in capitals, none is guessed."""
    thumbs = facts_of({"Procfile": "Thumbs: php thumbs.php\nweb: php web.php\n"})
    assert worker({"preset": "procfile"}, thumbs, name="thumbs").argv[-1] == "thumbs.php"

    both = facts_of({"Procfile": "Thumbs: php one.php\nthumbs: php two.php\nTHUMBS: php three.php\n"})
    assert worker({"preset": "procfile"}, both, name="thumbs").argv[-1] == "two.php"

    unclear = facts_of({"Procfile": "Queue: php one.php\nQUEUE: php two.php\n"})
    error = refusal({"preset": "procfile"}, unclear)
    assert error.message.startswith("no line 'queue' in the Procfile")
    assert error.hint == "It has: Queue, QUEUE. Name the worker like its line."


def test_a_procfile_worker_follows_the_line_that_it_names_and_gets_a_shell_if_it_needs_one() -> None:
    unit = worker({"preset": "procfile", "options": {"line": "clock"}}, PROCFILE)
    assert (unit.argv, unit.stop.scope) == (("/bin/sh", "-c", "trap exit TERM; A=1 php x $Y"), "group")


def test_a_line_that_is_not_there_is_refused_with_those_that_are() -> None:
    error = refusal({"preset": "procfile", "options": {"line": "mail"}}, PROCFILE)
    assert error.message == "no line 'mail' in the Procfile (did you mean 'mails'?)"
    assert error.hint == "It has: mails, clock. Name the worker like its line."
    assert refusal({"preset": "procfile"}).hint == "The release has no Procfile."


# Processes and stop


def test_as_many_processes_as_wanted() -> None:
    assert worker({"preset": "laravel-queue", "processes": 4}).processes == 4


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_number_of_processes_out_of_reason_is_refused(count: int) -> None:
    table = WorkerTable(command="php x", processes=count)
    with pytest.raises(UserError, match="must be 1 to 1000") as caught:
        expand_worker("queue", table, None, PROJECT, LARAVEL, PROGRAMS, WHERE, "supervisor")
    assert caught.value.where == f"{WHERE}.processes"


def test_a_singleton_with_two_processes_is_refused_with_the_reason() -> None:
    error = refusal({"preset": "laravel-horizon", "processes": 2})
    assert error.message.startswith("laravel-horizon must run as one process: one master starts all workers")
    assert error.where == f"{WHERE}.processes"


def test_a_worker_may_be_scaled_without_root_as_far_as_its_table_says() -> None:
    assert worker({"preset": "laravel-queue", "processes": 2}).scale_max == 0
    assert worker({"preset": "laravel-queue", "processes": 2, "scale_max": 5}).scale_max == 5
    too_few = refusal({"preset": "laravel-queue", "processes": 4, "scale_max": 3})
    assert too_few.where == f"{WHERE}.scale_max"
    assert "must not be less than processes, which is 4" in too_few.message
    singleton = refusal({"preset": "laravel-horizon", "scale_max": 2})
    assert singleton.where == f"{WHERE}.scale_max"
    assert "must run as one process" in singleton.message


def test_a_singleton_may_run_as_several_processes_when_the_option_takes_its_reason_away() -> None:
    wanted: dict[str, Any] = {"preset": "huey", "processes": 2, "options": {"app": "tasks.huey"}}
    assert refusal(wanted).hint == "Set it to 1, or remove it, or set options.no_periodic = true."

    wanted["options"]["no_periodic"] = True
    unit = worker(wanted)

    assert unit.processes == 2
    assert "--no-periodic" in unit.argv


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ({"preset": "laravel-queue"}, 73),
        ({"preset": "laravel-queue", "options": {"timeout": 600, "sleep": 0}}, 610),
        ({"preset": "laravel-queue", "options": {"timeout": 600}, "stop_wait": 600}, 600),
        ({"preset": "celery-worker", "options": {"app": "a"}}, 600),
        ({"preset": "celery-worker", "options": {"app": "a", "time_limit": 60}}, 90),
        ({"preset": "rq"}, 190),
        ({"command": "php x", "options": {"timeout": 100}}, 110),
        ({"command": "php x", "stop_wait": 5}, 5),
    ],
)
def test_the_stop_wait_follows_from_how_long_a_job_may_take(keys: dict[str, Any], seconds: int) -> None:
    assert worker(keys).stop.wait_seconds == seconds


@pytest.mark.parametrize("options", [{"timeout": 3}, {"sleep": 60}, {"sleep": 10, "timeout": 5}])
def test_a_laravel_worker_that_its_own_timeout_would_kill_while_it_waits_is_refused(
    options: dict[str, int],
) -> None:
    error = refusal({"preset": "laravel-queue", "options": options})
    assert "a worker that waits for jobs would be killed by its own timeout" in str(error)
    assert error.where == f"{WHERE}.options.sleep"
    assert error.hint == "Make timeout longer or sleep shorter."


def test_a_stop_wait_shorter_than_a_job_is_refused_with_the_reason_and_the_right_number() -> None:
    error = refusal({"preset": "laravel-queue", "options": {"timeout": 120}, "stop_wait": 30})
    assert error.message == (
        "30 seconds are less than a job may take (options.timeout is 120): a stop would kill it half way"
    )
    assert error.hint.startswith("Use 133 (timeout + sleep + 10)")
    assert error.where == f"{WHERE}.stop_wait"


@pytest.mark.parametrize("name", ["INT", "SIGINT", "int", "sigint"])
def test_signals_by_any_usual_spelling(name: str) -> None:
    assert worker({"preset": "node", "stop_signal": name, "options": {"file": "x.js"}}).stop.signal == "INT"


@pytest.mark.parametrize("name", ["STOP", "CONT", "CHLD", "TREM", "9", "SIG", "x" * 99])
def test_a_signal_that_ends_nothing_is_refused(name: str) -> None:
    error = refusal({"command": "php x", "stop_signal": name})
    assert error.where == f"{WHERE}.stop_signal"
    assert ("did you mean 'TERM'?" in error.message) == (name == "TREM")


def test_the_scope_that_the_user_asks_for_goes_before_all() -> None:
    assert worker({"command": "npm run x", "stop_scope": "main"}).stop.scope == "main"
    assert worker({"preset": "laravel-queue", "stop_scope": "group"}).stop.scope == "group"


# The rest of the unit


def test_the_environment_of_the_preset_gives_way_to_the_projects_and_that_to_the_units() -> None:
    project = Project("shop", "/srv/shop", "/var/log/shop", ACCOUNT, (("NODE_ENV", "staging"),))
    keys: dict[str, Any] = {"preset": "node", "options": {"file": "x.js", "port": 81}}
    assert dict(worker(keys).environment) == {"NODE_ENV": "production", "PORT": "81"}
    assert dict(worker(keys, project=project).environment) == {"PORT": "81"}
    keys["environment"] = {"NODE_ENV": "test", "A": "{port}"}
    assert dict(worker(keys, project=project).environment) == {
        "PORT": "81",
        "NODE_ENV": "test",
        "A": "{port}",
    }


def test_exit_codes_are_explained_in_plain_words() -> None:
    meanings = dict(worker({"preset": "laravel-queue"}).exit_meanings)
    assert meanings[12] == "memory limit reached, recycled"
    assert "its own job timeout" in meanings[137]
    assert list(meanings) == sorted(meanings)


def test_log_and_backend_and_start_seconds_of_the_table() -> None:
    keys = {
        "command": "php x",
        "log_max_size": "1M",
        "log_backups": 2,
        "backend": "native",
        "start_seconds": 9,
    }
    unit = worker(keys)
    assert (unit.log, unit.backend, unit.start_seconds) == (LogPolicy(1024 * 1024, 2), "native", 9)


def test_the_laravel_scheduler() -> None:
    unit = schedule({"preset": "laravel-scheduler"})
    assert (unit.cron, unit.argv) == ("* * * * *", ("/usr/bin/php", "artisan", "schedule:run", "--no-ansi"))
    assert schedule({"preset": "laravel-scheduler", "cron": "*/5 * * * *"}).cron == "*/5 * * * *"


def test_any_other_schedule() -> None:
    unit = schedule({"cron": "0 2 * * *", "command": "pg_dump -f backup.sql shop", "timezone": "Europe/Riga"})
    assert unit.argv == ("/usr/bin/pg_dump", "-f", "backup.sql", "shop")
    assert (unit.preset, unit.timezone, unit.backend, unit.log_path) == (
        "custom",
        "Europe/Riga",
        "cron",
        "/var/log/shop/backup.log",
    )


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"command": "php x"}, "schedules.backup.cron: says no times"),
        ({"cron": "* * * * *"}, "schedules.backup: the command is missing"),
        (
            {"preset": "laravel-queue", "cron": "* * * * *"},
            "schedules.backup.preset: laravel-queue is a worker",
        ),
        (
            {"cron": "* * * * *", "command": "php x", "options": {"timeout": 5}},
            "options.timeout: custom has no such",
        ),
    ],
)
def test_a_wrong_schedule_is_refused_and_the_key_named(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        schedule(keys)
    assert complaint in str(caught.value)


def test_a_schedule_is_no_worker() -> None:
    error = refusal({"preset": "laravel-scheduler"})
    assert "is a schedule, not a worker" in error.message
    assert "[schedules.scheduler]" in error.hint


option_values = st.one_of(st.text(max_size=12), st.integers(-5, 10**12), st.booleans(), st.floats())


@given(
    preset=st.sampled_from(preset_names()),
    options=st.dictionaries(st.text(max_size=12), option_values, max_size=3),
    known=st.lists(st.tuples(st.integers(0, 20), option_values), max_size=4),
    stop_wait=st.none() | st.integers(1, 86400),
    command=st.none() | st.text(max_size=30) | st.lists(st.text(max_size=8), max_size=4),
    shell=st.booleans(),
)
def test_any_table_gives_a_runnable_unit_or_an_error_for_people(
    preset: str,
    options: dict[str, Any],
    known: list[tuple[int, Any]],
    stop_wait: int | None,
    command: Any,
    shell: bool,
) -> None:
    names = sorted(load_preset(preset).options)
    options |= {names[index % len(names)]: value for index, value in known if names}
    table = WorkerTable(preset=preset, options=options, stop_wait=stop_wait, command=command, shell=shell)
    facts = facts_of({"artisan": "", "manage.py": "", "server.js": "", "package.json": "{}"})
    unit = attempted(table, facts)
    if isinstance(unit, ShiftbossError):
        assert "\n" not in unit.message
        assert unit.hint
    else:
        assert unit.argv[0].startswith("/")
        assert not any("\n" in word or "\0" in word for word in unit.argv)
        assert unit.stop.wait_seconds > 0


def attempted(table: WorkerTable, facts: ReleaseFacts) -> Worker | ShiftbossError:
    assert table.preset is not None
    preset = load_preset(table.preset)
    try:
        words = programs_needed("queue", table, preset, facts, WHERE)
        programs = {word: f"/usr/bin/{word}" for word in words}
        return expand_worker("queue", table, preset, PROJECT, facts, programs, WHERE, "supervisor")
    except ShiftbossError as error:
        return error
