"""The boundary of the command line: every error is one line with a hint and an exit code, never a traceback."""

import json
from collections.abc import Callable

import click
import pytest
from tests.shop import QUEUE, Shop

from shiftboss.cli.classic import setup_cron_command, setup_supervisor_command
from shiftboss.cli.main import COMMANDS
from shiftboss.core.errors import HostError, UserError


class Ran:
    """What a command gave back."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err.lstrip("\n")  # click ends the line of ^C

    @property
    def error(self) -> str:
        """The first line on standard error, which must be the error."""
        first, *rest = self.err.splitlines()
        assert first.startswith("error: "), self.err
        assert "Traceback" not in self.err
        assert all(line.startswith("  ") for line in rest), "the hint is indented below it"
        return first.removeprefix("error: ")

    @property
    def hint(self) -> str:
        return "\n".join(line.strip() for line in self.err.splitlines()[1:])


Run = Callable[..., Ran]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(name="sh")
def fixture_sh(sh: Callable[..., tuple[int, str, str]]) -> Run:
    """Run a command line on the server in memory."""
    return lambda *arguments, **options: Ran(*sh(*arguments, **options))


# (arguments, exit code, a part of the error, a part of the hint)
REFUSED = [
    (["setup", "nope", "queue"], 2, "unknown project 'nope': there is no directory", "--root DIR"),
    (["setup", "../x", "queue"], 2, "'../x' is not a project name", "1 to 27 characters"),
    (["setup", "a b", "queue"], 2, "'a b' is not a project name", "1 to 27 characters"),
    (["setup", "x:y", "queue"], 2, "'x:y' is not a project name", "1 to 27 characters"),
    (["setup", "", "queue"], 2, "the project name is empty", "1 to 27 characters"),
    (["setup", "a" * 300, "queue"], 2, "(300 characters)' is not a project name", "1 to 27 characters"),
    (["setup", "shop", "quue"], 2, "unknown kind 'quue' (did you mean 'queue'?)", "queue, node, custom"),
    (["setup", "shop", "laravel-scheduler"], 2, "laravel-scheduler is a schedule, not a worker", "shiftboss cron shop"),
    (["setup", "shop", "queue", "--workers", "0"], 2, "'0' is not a number of processes", "1 to 1000"),
    (["setup", "shop", "queue", "--workers", "-1"], 2, "'-1' is not a number of processes", "1 to 1000"),
    (["setup", "shop", "queue", "--workers", "1000000"], 2, "'1000000' is not a number of processes", "1 to 1000"),
    (["setup", "shop", "queue", "--workers", "two"], 2, "'two' is not a number of processes", "1 to 1000"),
    (["setup", "shop", "queue", "--workers", "²"], 2, "'²' is not a number of processes", "1 to 1000"),
    (["setup", "shop", "custom"], 2, "a custom worker needs a command", "-- php artisan thumbs:work"),
    (["setup", "shop", "custom", "--", "php a\nb"], 2, "control character", "one line"),
    (["setup", "shop", "custom", "--", "php a | b"], 2, "contains | outside quotes", "shell = true"),
    (["setup", "shop", "custom", "--", ""], 2, "the command is empty", "--"),
    (["setup", "shop", "custom", "--name", "x y", "--", "php a"], 2, "'x y' is not a worker name", "characters"),
    (["setup", "shop", "custom", "--", "php \udcff"], 2, "is not UTF-8 text", "UTF-8"),
    (["setup", "shop", "--name", "x"], 2, "shop has no worker 'x' yet", "queue, node, custom"),
    (["setup", "shop"], 2, "shop: say what to set up", "shiftboss setup shop --yes"),
    (["setup", "shop", "--workers", "2"], 2, "cannot tell which worker of shop --workers is for", "shop queue --workers 2"),
    (["history"], 1, "shiftboss is not running", "shiftboss service install"),
    (["events"], 1, "shiftboss is not running", "shiftboss service install"),
    (["setup"], 2, "missing argument 'PROJECT'", "Usage: shiftboss setup"),
    (["cron", "shop", "backup"], 2, "shop has no schedule 'backup' yet: it needs times and a command", "0 2 * * *"),
    (["cron", "shop", "backup", "99 * * * *", "--", "php x"], 2, "cannot schedule shop/backup at '99 * * * *'", "explain"),
    (["cron", "shop", "backup", "0 0 30 2 *", "--", "php x"], 2, "never runs", "explain"),
    (["scale", "shop/queue", "0"], 2, "'0' is not a number of processes", "shiftboss stop"),
    (["scale", "shop", "2"], 2, "shop is not a worker", "PROJECT/WORKER"),
    (["scale", "shop/queue:1", "2"], 2, "shop/queue:1 is not a worker", "PROJECT/WORKER"),
    (["scale", "shop/queue", "two"], 2, "'two' is not a number of processes", "1 to 1000"),
    (["remove", "shop/queue:1"], 2, "cannot remove one process: shop/queue:1", "shiftboss scale shop/queue N"),
    (["remove", "nope"], 2, "unknown project 'nope'", "project add"),
    (["status", "nope/x:y"], 2, "'nope/x:y' is not a target", "myapp/queue:2"),
    (["start"], 2, "missing argument 'TARGET...'", "Usage: shiftboss start"),
    (["logs"], 2, "there is no unit to show logs of", "shiftboss setup PROJECT"),
    (["explain", "* * * * *", "--timezone", "Mars"], 2, "unknown time zone 'Mars'", "Europe/Riga"),
    (["explain", "* * * * *", "--from", "soon"], 2, "'soon' is not an ISO time", "2026-11-23"),
    (["explain", "* * * * *", "--count", "-1"], 2, "'--count'", "Usage: shiftboss explain"),
    (["stauts"], 2, "unknown command 'stauts' (did you mean 'status'?)", "shiftboss --help"),
    (["\x1b[31m"], 2, "unknown command", "shiftboss --help"),
    (["setup", "shop", "--wrkers", "2"], 2, "no such option '--wrkers'", "Usage: shiftboss setup"),
    (["--config", "/nope.toml", "status"], 2, "cannot read /nope.toml: there is no such file", "--config"),
    (["project", "add", "blog"], 2, "there is no directory /infra/projects/blog", "--root DIR"),
    (["project", "add", "shop", "--user", "www"], 1, "there is no user www", "--create-user"),
    (["completion", "csh"], 2, "csh", "Usage: shiftboss completion"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"), REFUSED, ids=[" ".join(r[0])[:50] for r in REFUSED]
)
def test_bad_input_gets_one_clear_line_and_a_hint_and_changes_nothing(
    shop: Shop, sh: Run, arguments: list[str], code: int, error: str, hint: str
) -> None:
    before = {p: n for p, n in shop.machine.files.snapshot().items() if not p.startswith("/run/")}

    ran = sh(*arguments)

    assert ran.code == code
    assert error in ran.error
    assert ran.error.isprintable()
    assert hint in ran.hint
    assert {p: n for p, n in shop.machine.files.snapshot().items() if not p.startswith("/run/")} == before
    assert shop.machine.supervisord.states() == {}


def test_the_machine_that_refuses_gives_1(shop: Shop, sh: Run) -> None:
    shop.machine.supervisord.down = True
    ran = sh("setup", "shop", "queue")
    assert ran.code == 1
    assert ran.error.startswith("cannot talk to Supervisor, it is not running")
    assert "systemctl start supervisor" in ran.hint


def test_not_as_desired_gives_3(shop: Shop, sh: Run) -> None:
    assert sh("plan", "--check").code == 0
    assert sh("status").code == 0
    shop.set_up(QUEUE)
    shop.machine.supervisord.end("shop_queue:shop_queue", "FATAL", 1)

    status = sh("status")
    assert status.code == 3
    assert "shop/queue: ended by an error (exit status 1)" in status.out
    assert "once it is mended: shiftboss start shop/queue" in status.out
    assert sh("plan", "--check").code == 3
    assert sh("plan").code == 0


def test_a_bug_of_ours_gives_70_and_says_so_without_a_traceback(
    sh: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHIFTBOSS_DEBUG", raising=False)

    @click.command()
    def broken() -> None:
        {}["missing"]  # type: ignore[index]  # that is the bug

    ran = sh(command=broken, name="broken")

    assert ran.code == 70
    assert ran.error.startswith("internal error (KeyError in test_main.py:")
    assert "SHIFTBOSS_DEBUG=1" in ran.hint

    monkeypatch.setenv("SHIFTBOSS_DEBUG", "1")
    with pytest.raises(KeyError):
        sh(command=broken, name="broken")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_gives_130_and_says_how_to_go_on(sh: Run, error: BaseException) -> None:
    @click.command()
    def slow() -> None:
        raise error

    ran = sh(command=slow, name="slow")

    assert (ran.code, ran.error) == (130, "interrupted")
    assert "Run the same command again" in ran.hint


def test_errors_of_both_kinds_are_shown_alike(sh: Run) -> None:
    @click.command()
    @click.argument("kind")
    def failing(kind: str) -> None:
        if kind == "user":
            raise UserError("is wrong", where="file: key", hint="Mend it.\nOr not.")
        raise HostError("cannot do it")

    user, host = sh("user", command=failing), sh("host", command=failing)
    assert (user.code, user.error, user.hint) == (2, "file: key: is wrong", "Mend it.\nOr not.")
    assert (host.code, host.error, host.hint) == (1, "cannot do it", "")


def test_an_error_that_names_what_a_project_wrote_cannot_control_the_terminal(sh: Run) -> None:
    @click.command()
    def failing() -> None:
        raise HostError("cannot read \x1b]0;x\x07\x9b2J", hint="look at \x1b[2J it")

    ran = sh(command=failing)
    assert (ran.error, ran.hint) == ("cannot read ]0;x2J", "look at [2J it")


def test_no_command_at_all_shows_the_help_on_standard_error(sh: Run) -> None:
    for arguments in ([], ["project"]):
        ran = sh(*arguments)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err.startswith("Usage: shiftboss")
        assert "error:" not in ran.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_of_its_own(sh: Run, name: str) -> None:
    ran = sh(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: shiftboss {name}")
    assert ran.err == ""


def test_the_help_lists_every_command(sh: Run) -> None:
    ran = sh("-h")
    assert ran.code == 0, ran.err
    assert [line.split()[0] for line in ran.out.partition("Commands:")[2].splitlines() if line.strip()] == [
        *COMMANDS
    ]
    assert sh("--version").out.startswith("shiftboss ")


def test_a_project_is_set_up_looked_at_and_removed(shop: Shop, sh: Run) -> None:
    ran = sh("setup", "shop", "queue", "--workers", "2")
    assert ran.code == 0
    assert "create /etc/supervisor/conf.d/shop_queue.conf" in ran.out
    assert "shop/queue:2  RUNNING" in ran.out
    assert "log of shop/queue: /infra/logs/projects/shop/queue.log" in ran.out
    assert "shop/queue runs: pid" in ran.err

    again = sh("setup", "shop", "queue", "--workers", "2")
    assert again.code == 0
    assert again.out.startswith("nothing to change\n")

    assert sh("cron", "shop").code == 0
    assert "shop/scheduler" in sh("next").out
    assert "shop" in sh("project", "list").out
    assert sh("remove", "shop").code == 0
    assert sh("status").out == "Nothing is set up yet. Start with: shiftboss setup PROJECT\n"


def test_what_a_project_seems_to_need_is_set_up_once(shop: Shop, sh: Run) -> None:
    assert sh("setup", "shop", "--yes").code == 0
    pids = shop.machine.supervisord.pids()

    again = sh("setup", "shop", "--yes")

    assert again.code == 0
    assert "everything that it seems to need\nnothing to change" in again.out
    assert shop.machine.supervisord.pids() == pids


def test_a_removal_does_not_say_that_nothing_is_set_up(shop: Shop, sh: Run) -> None:
    shop.set_up(QUEUE)
    ran = sh("remove", "shop/queue")
    assert ran.code == 0
    assert "Nothing is set up" not in ran.out
    assert "stops: shop/queue:1" in ran.out


def test_a_dry_run_shows_the_differences_and_changes_nothing(shop: Shop, sh: Run) -> None:
    before = {p: n for p, n in shop.machine.files.snapshot().items() if not p.startswith("/run")}
    for arguments in (["setup", "shop", "queue"], ["cron", "shop"], ["setup", "shop"]):
        ran = sh(*arguments, "--dry-run")
        assert ran.code == 0
        assert "+++ /etc/shiftboss/projects/shop.toml" in ran.out
    after = {p: n for p, n in shop.machine.files.snapshot().items() if not p.startswith("/run")}
    assert after == before


def test_json_is_all_that_is_on_standard_output(shop: Shop, sh: Run) -> None:
    set_up = json.loads(sh("setup", "shop", "queue", "--json").out)
    status = json.loads(sh("status", "--json").out)
    assert set_up["projects"][0]["workers"][0]["processes"][0]["state"] == "RUNNING"
    assert list(status["projects"][0]) == [
        "project",
        "user",
        "release",
        "workers",
        "schedules",
        "from_release",
    ]
    assert list(status["projects"][0]["workers"][0]) == [
        "name",
        "preset",
        "backend",
        "command",
        "processes",
        "limits",
    ]
    assert list(status["projects"][0]["workers"][0]["processes"][0]) == [
        "process", "state", "pid", "uptime_seconds", "restarts", "stale", "exit_reason", "memory_bytes", "cpu_percent",
        "deleted", "memory_peak_bytes", "cpu_seconds", "throttled_seconds", "read_bytes", "written_bytes", "tasks",
        "notes",
    ]  # fmt: skip
    plan = json.loads(sh("scale", "shop/queue", "2", "--dry-run", "--json").out)
    assert plan["actions"][0]["path"] == "/etc/shiftboss/projects/shop.toml"
    assert {restart for action in plan["actions"] for restart in action["restarts"]} == {"shop/queue:1"}
    assert json.loads(sh("cron", "shop", "--json").out)["projects"][0]["schedules"][0]["cron"] == "* * * * *"
    assert len(json.loads(sh("next", "-n", "2", "--json").out)) == 2
    assert json.loads(sh("plan", "--json").out)["actions"] == []
    assert json.loads(sh("explain", "0 2 * * *", "--json").out)["valid"] is True
    wrong = sh("explain", "99 * * * *", "--json")
    assert wrong.code == 2
    assert json.loads(wrong.out)["valid"] is False
    assert json.loads(sh("project", "list", "--json").out)["projects"][0]["project"] == "shop"
    assert json.loads(sh("schema", "config").out)["$defs"]


def test_one_broken_project_file_hides_no_other(shop: Shop, sh: Run) -> None:
    shop.set_up(QUEUE)
    shop.write_project("[workers\n", "blog")

    for arguments in (["status"], ["plan"], ["apply"], ["next"], ["project", "list"]):
        ran = sh(*arguments)
        assert ran.code == 2, arguments
        assert "blog.toml: not valid TOML" in ran.err
        assert "internal" not in ran.err
    assert "RUNNING" in sh("status").out


def test_targets_are_started_and_stopped(shop: Shop, sh: Run) -> None:
    assert sh("setup", "shop", "queue", "--workers", "2").code == 0
    assert sh("stop", "shop/queue:2").code == 0
    assert shop.machine.supervisord.states()["shop_queue:shop_queue_01"] == "STOPPED"
    assert sh("start", "shop").code == 0
    restarted = sh("restart", "shop/queue:2", "shop/queue:1")
    assert restarted.code == 0
    assert [line.partition(": pid")[0] for line in restarted.out.splitlines()] == [
        "shop/queue:1",
        "shop/queue:2",
    ]
    assert sh("scale", "shop/queue", "1").code == 0
    assert sh("status", "shop/queue:2").code == 2


def test_logs_have_prefixes_only_where_there_are_several(shop: Shop, sh: Run) -> None:
    shop.set_up(QUEUE)
    shop.machine.files.append("/infra/logs/projects/shop/queue.log", b"one\ntwo\n")
    assert sh("logs", "shop", "-n", "1").out == "two\n"
    assert sh("cron", "shop").code == 0
    shop.machine.files.append("/infra/logs/projects/shop/scheduler.log", b"[2026-11-23 13:59:00] tick\n")

    assert (
        sh("logs").out
        == "shop/queue     | one\nshop/queue     | two\nshop/scheduler | [2026-11-23 13:59:00] tick\n"
    )
    assert sh("logs", "shop/scheduler", "--since", "5m").out.endswith("tick\n")
    assert sh("logs", "shop/scheduler", "--since", "13:59:30").out == ""
    assert sh("logs", "--since", "soon").code == 2


def test_the_classic_scripts_pin_supervisor_and_cron(shop: Shop, sh: Run) -> None:
    ran = sh("shop", "queue", "--workers=2", command=setup_supervisor_command, name="setup-supervisor")
    assert ran.code == 0
    custom = sh(
        "shop",
        "custom",
        "php artisan custom:command",
        command=setup_supervisor_command,
        name="setup-supervisor",
    )
    assert custom.code == 0
    assert sh("shop", command=setup_cron_command, name="setup-cron").code == 0

    text = shop.catalog.require("shop").text
    assert text.count('backend = "supervisor"') == 2
    assert 'backend = "cron"' in text
    assert 'command = "php artisan custom:command"' in text
    assert len(shop.machine.supervisord.pids()) == 3


def test_setup_cron_refuses_a_project_without_artisan(shop: Shop, sh: Run) -> None:
    shop.machine.files.delete("/infra/projects/shop/releases/1/artisan")
    ran = sh("shop", command=setup_cron_command, name="setup-cron")
    assert ran.code == 2
    assert ran.error == "shop is no Laravel project: its release has no artisan"
    assert 'shiftboss cron shop backup "0 2 * * *" -- COMMAND' in ran.hint
    assert sh(command=setup_supervisor_command, name="setup-supervisor").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_all_our_programs(sh: Run, shell: str) -> None:
    ran = sh("completion", shell)
    assert ran.code == 0
    for variable in ("_SHIFTBOSS_COMPLETE", "_SETUP_SUPERVISOR_COMPLETE", "_SETUP_CRON_COMPLETE"):
        assert variable in ran.out
