"""The machine says no: one clear line, a hint, exit 1, and nothing is changed."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from shiftboss.core.spec import DEFAULT_PATH
from tests.e2e.public_copy import program_as
from tests.e2e.refusals import REFUSED_BY_HOST, assert_refused, nothing_changes
from tests.e2e.server import CLASSIC, SHIFTBOSS, Answer, Server, on_native
from tests.e2e.shop import Shop
from tests.supervisord import free_port

pytestmark = pytest.mark.needs_root

_SLEEPER = ("custom", "--", "sleep", "1000")


_ROOTS_OWN = [
    ("setup", "{filed}", *_SLEEPER),
    ("cron", "{filed}", "backup", "@daily", "--", "true"),
    ("apply",),
    ("remove", "{good}", "--yes"),
    ("project", "add", "{filed}"),
]
# of the project's own people on the native backend, which can tell who asks
_CONTROL = [
    ("scale", "{good}/steady", "2"),
    ("start", "{good}"),
    ("stop", "{good}"),
    ("restart", "{good}"),
]


@pytest.mark.parametrize("line", [*_ROOTS_OWN, *_CONTROL], ids=lambda line: line[0])
def test_who_is_not_root_is_told_so(shop: Shop, public_copy: Path, line: tuple[str, ...]) -> None:
    """The project's own user, too: what root set up is root's to change."""
    with nothing_changes(shop.server):
        answer = shop.server.run(*shop.named(line), program=program_as(shop.good.user, public_copy))

    assert_refused(answer, REFUSED_BY_HOST, "permission denied", "Run the command as root (sudo)")


@pytest.mark.parametrize("shop", ["native"], indirect=True)
@pytest.mark.parametrize("line", _ROOTS_OWN, ids=lambda line: line[0])
def test_a_projects_user_is_told_what_is_roots_and_what_is_not(
    shop: Shop, public_copy: Path, line: tuple[str, ...]
) -> None:
    with nothing_changes(shop.server):
        answer = shop.server.run(*shop.named(line), program=program_as(shop.good.user, public_copy))

    assert_refused(answer, REFUSED_BY_HOST, "permission denied", "Use sudo", "status, logs, top, next, start")


@pytest.mark.parametrize("shop", ["native"], indirect=True)
@pytest.mark.parametrize("line", _CONTROL, ids=lambda line: line[0])
def test_the_user_of_another_project_learns_nothing_and_changes_nothing(
    shop: Shop, public_copy: Path, line: tuple[str, ...]
) -> None:
    with nothing_changes(shop.server):
        answer = shop.server.run(*shop.named(line), program=program_as(shop.bare.user, public_copy))

    assert answer.status != 0
    assert shop.good.name not in answer.stdout + answer.stderr.replace(shop.named(line)[1], "")


def test_a_supervisor_that_is_not_running_is_named_with_the_command_that_starts_it(server: Server) -> None:
    project = server.add_project()
    project.release()
    project.declare('[workers.steady]\ncommand = "sleep 1000"')
    server.supervisord.stop()

    with nothing_changes(server, running=False):
        answers = [
            server.run("setup", project.name, *_SLEEPER),
            server.run("setup-supervisor", project.name, "custom", "sleep 9", program=CLASSIC),
            server.run("apply"),
            server.run("plan"),
            server.run("start", project.name),
        ]
        status = server.run("status")

    for answer in answers:
        assert_refused(
            answer, REFUSED_BY_HOST, "it is not running", str(server.supervisord.socket), "Start it:"
        )
    assert status.status == REFUSED_BY_HOST, status
    assert "unknown" in status.stdout, status
    assert "it is not running" in status.stderr, status


@on_native
def test_an_engine_that_is_not_running_is_named_with_the_commands_that_start_it(server: Server) -> None:
    """What is written stays: the engine goes by it when it runs."""
    project = server.add_project()
    project.release()
    project.declare('[workers.steady]\ncommand = "sleep 1000"\nstart_seconds = 1')
    server.keeper.stop()

    applied = server.run("apply")
    with nothing_changes(server, running=False):
        plan = server.run("plan")
        acts = [server.run(word, project.name) for word in ("start", "stop", "restart")]
        status, history = server.run("status"), server.run("history")

    assert plan.status == 0, plan
    for answer in (applied, *acts, history):
        assert_refused(answer, REFUSED_BY_HOST, "not running", "shiftboss up", "shiftboss service install")
        assert "Supervisor" not in answer.stderr, answer
    assert "is set up, but" in applied.stderr
    assert status.status == REFUSED_BY_HOST, status
    assert "unknown" in status.stdout, status
    server.keeper.start()
    server.keeper.wait_for({f"{project.name}/steady:1": "RUNNING"})
    assert server.run("plan", "--check").status == 0


@on_native
def test_a_project_is_removed_while_nothing_runs(server: Server) -> None:
    project = server.add_project()
    project.release()
    before = server.snapshot()
    server.ok("setup", project.name, *_SLEEPER)
    server.ok("stop", project.name)
    server.keeper.stop()

    server.ok("remove", project.name, "--yes")

    assert server.snapshot() == before
    server.keeper.start()
    assert server.keeper.states() == {}
    server.ok("setup", project.name, *_SLEEPER)
    assert set(project.states().values()) == {"RUNNING"}, "the stop of the one before was remembered"


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_wrong_password_is_told_and_not_shown(public_tmp: Path, transport: str) -> None:
    port = free_port()
    server = Server.make(public_tmp, username="admin", password="right-secret", port=port)
    address = f'server = "http://127.0.0.1:{port}"\n' if transport == "tcp" else ""
    try:
        with server.supervisord:
            project = server.add_project()
            project.release()
            server.write_config(supervisor=f'{address}username = "admin"\npassword = "wrong-secret"\n')
            with nothing_changes(server):
                answer = server.run("setup", project.name, *_SLEEPER)
            server.write_config(supervisor=address)
            right = server.run("plan")
    finally:
        server.close()

    assert_refused(answer, REFUSED_BY_HOST, "wrong user name or password", "[supervisor] in config.toml")
    assert right.status == 0, right
    for said in (answer, right):
        assert "-secret" not in said.stdout + said.stderr


def test_a_conf_dir_that_is_missing_is_named(server: Server) -> None:
    project = server.add_project()
    project.release()
    shutil.rmtree(server.supervisord.conf_dir)

    with nothing_changes(server):
        answer = server.run("setup", project.name, *_SLEEPER)

    assert_refused(answer, REFUSED_BY_HOST, str(server.supervisord.conf_dir), "mkdir -p")


WRITTEN = {
    "sv/conf.d": ("setup", "{filed}", *_SLEEPER),
    "etc/projects": ("setup", "{filed}", *_SLEEPER),
    "logrotate.d": ("setup", "{filed}", "custom", "--workers", "2", "--", "sleep", "1000"),
    "cron.d": ("cron", "{filed}", "backup", "@daily", "--", "true"),
    "logs": ("setup", "{filed}", *_SLEEPER),
}
_NOT_ON_NATIVE = {"sv/conf.d", "logrotate.d"}  # our engine rotates by itself
on_what_is_written = pytest.mark.parametrize(
    ("shop", "place"),
    [
        *(("supervisor", place) for place in WRITTEN),
        *(("native", place) for place in WRITTEN if place not in _NOT_ON_NATIVE),
    ],
    indirect=["shop"],
)


@on_native
def test_a_directory_of_manifests_that_is_read_only_or_full_stops_everything(server: Server) -> None:
    project = server.add_project()
    project.release()
    where = server.keeper.manifests
    shop = Shop(server, *[project] * 6)
    mounts = {
        "read-only": f"mount --bind {where} {where} -o ro",
        "The disk is full": f"mount -t tmpfs -o mode=755,size=4k tmpfs {where}; head -c 4096 /dev/zero > {where}/full || true",
    }
    for words, mount in mounts.items():
        with nothing_changes(server):
            answer = run_with_mount(shop, mount, "etc/state/manifest", ("setup", "{good}", *_SLEEPER))
        assert_refused(answer, REFUSED_BY_HOST, str(where), words)


@on_what_is_written
def test_a_directory_that_is_read_only_stops_everything(shop: Shop, place: str) -> None:
    where = shop.server.directory / place
    with nothing_changes(shop.server):
        answer = run_with_mount(shop, f"mount --bind {where} {where} -o ro", place, WRITTEN[place])

    assert_refused(answer, REFUSED_BY_HOST, str(where), "read-only")


@on_what_is_written
def test_a_full_disk_stops_everything(shop: Shop, place: str) -> None:
    where = shop.server.directory / place
    room = "nr_inodes=1" if place == "logs" else "size=4k"
    mount = f"mount -t tmpfs -o mode=755,{room} tmpfs {where}; head -c 4096 /dev/zero > {where}/full || true"
    with nothing_changes(shop.server):
        answer = run_with_mount(shop, mount, place, WRITTEN[place])

    assert_refused(answer, REFUSED_BY_HOST, str(where), "The disk is full")


def run_with_mount(shop: Shop, mount: str, place: str, line: tuple[str, ...]) -> Answer:
    """Run shiftboss where something is mounted that nobody else sees; nothing new may be left in `place`."""
    where, listing = shop.server.directory / place, shop.server.directory / "listing"
    script = (
        f'set -e; {mount}; ls -A {where} > {listing}.before; set +e; "$@"; status=$?; '
        f"ls -A {where} > {listing}.after; exit $status"
    )
    inside = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")
    answer = shop.server.run(*shop.named(line), program=(*inside, *SHIFTBOSS))
    before, after = (Path(f"{listing}.{when}").read_text() for when in ("before", "after"))
    assert after == before, f"left behind: {after}"
    return answer


@pytest.mark.parametrize(
    ("program", "line", "package"),
    [
        ("php", ("setup", "{laravel}", "queue"), "php-cli"),
        ("php", ("cron", "{laravel}"), "php-cli"),
        ("php", ("setup", "{laravel}", "custom", "php artisan thumbs:work"), "php-cli"),
        ("node", ("setup", "{node}", "node"), "nodejs"),
    ],
)
def test_a_program_that_is_not_installed_is_named_with_its_package(
    shop: Shop, program: str, line: tuple[str, ...], package: str
) -> None:
    hide = "; ".join(f"mount --bind /dev/null {shlex.quote(path)}" for path in installed(program))

    with nothing_changes(shop.server):
        answer = run_with_mount(shop, hide, "sv/conf.d", line)

    assert_refused(answer, REFUSED_BY_HOST, f"cannot find {program} for", f"apt-get install {package}")


def installed(program: str) -> set[str]:
    """Return the files that are called so in the usual path."""
    found = (shutil.which(program, path=directory) for directory in DEFAULT_PATH.split(":"))
    return {os.path.realpath(path) for path in found if path}


def test_an_interpreter_that_is_pinned_and_gone_is_named(shop: Shop) -> None:
    shop.laravel.declare('interpreters.php = "/opt/php8.1/bin/php"')
    try:
        with nothing_changes(shop.server):
            answer = shop.server.run("setup", shop.laravel.name, "queue")
    finally:
        shop.laravel.project_file().unlink()

    assert_refused(answer, REFUSED_BY_HOST, "cannot find /opt/php8.1/bin/php", "pinned")
