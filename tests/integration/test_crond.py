"""The port to the cron daemon, and rendered crontabs, against the real cron of this machine."""

import json
import os
import pwd
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shiftboss.backends.contract import Wanted
from shiftboss.backends.cron import CronBackend
from shiftboss.backends.cron_line import render_crontab
from shiftboss.core.errors import HostError
from shiftboss.core.facts import Query, ReadFile, StatPath
from shiftboss.core.plan import CreateFile, MakeDirectory, Override, WriteFile
from shiftboss.core.spec import Account, Project
from shiftboss.host.crond import RealBoot, RealCronDaemon, without_user_field
from shiftboss.host.files import RealFiles
from tests.crond import ONE_RUN_SECONDS, TemporaryCron
from tests.small_server import project, schedule, site
from tests.waiting import wait_until

NOBODY = pwd.getpwnam("nobody")
ACCOUNT = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, "nogroup", NOBODY.pw_dir)
TRICKY = (
    "100%",
    'it\'s "quoted"',
    "a;b && c | d > e",
    "",
    " # no comment",
    "žluťoučký 日本",
    r"App\\Jobs\%",
    "$HOME `id` *",
    "-n",
)
RECORDER = """
import json, os, sys
names = ("HOME", "LOGNAME", "USER", "PATH", "LANG", "SHELL", "MAILTO", "APP_ENV", "ODD")
print(json.dumps({"argv": sys.argv[1:], "uid": os.getuid(), "directory": os.getcwd(), "stdin": sys.stdin.read(),
                  "environment": {name: os.environ.get(name) for name in names}}), flush=True)
"""

if shutil.which("crontab") is None:
    pytest.skip("cron is not installed", allow_module_level=True)


def tricky_project() -> Project:
    return project((("APP_ENV", "production"), ("ODD", 'it\'s "5%" \\% #1'), ("EMPTY", ""), ("E", "日本")))


@pytest.mark.parametrize(
    "when", ["* * * * *", "@reboot", "@daily", "*/5 0-6 1,15 jan-mar mon", "0 2 * * 1-5"]
)
def test_cron_accepts_what_we_render(when: str):
    of = tricky_project()
    text = render_crontab(of, [schedule("a", when, ("/bin/echo", *TRICKY), of), schedule("b", of=of)])
    assert RealCronDaemon().accepts(text) is None


def test_cron_accepts_the_longest_command_and_variable():
    of = project((("LONG", "x" * 990),))
    line = schedule("a", argv=("/bin/echo", "%" * 400), of=of)
    assert RealCronDaemon().accepts(render_crontab(of, [line])) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("61 * * * * root true\n", "bad minute"),
        ("@noon root true\n", "bad time specifier"),
        ("* * * * * root true", "missing newline"),
        ("* * * * * root " + "x" * 999 + "\n", "command too long"),
    ],
)
def test_complaints_of_cron_come_through_on_one_line(text: str, complaint: str):
    said = RealCronDaemon().accepts(text)
    assert said is not None
    assert complaint in said
    assert "\n" not in said
    assert "/tmp" not in said


def test_only_the_user_field_of_jobs_is_taken_away():
    text = "A=b c d e f g\n# 1 2 3 4 5 root x\n\n \t0 0\t1 jan mon  root  a  b=c\n@daily root FOO=1 x\nB = 1 2 3 4 5 6 7\n"
    assert without_user_field(text) == (
        "A=b c d e f g\n# 1 2 3 4 5 root x\n\n \t0 0\t1 jan mon  a  b=c\n@daily FOO=1 x\nB = 1 2 3 4 5 6 7\n"
    )


def answer(query: Query) -> object:
    match query:
        case ReadFile(path):
            return RealFiles().read(path)
        case StatPath(path):
            return RealFiles().stat(path)
        case _:
            raise AssertionError(query)


def set_up(wanted: Wanted) -> None:
    """Plan the schedules and perform the plan; a second plan must then be empty."""
    files, backend = RealFiles(), CronBackend()
    plan = backend.plan(wanted, {query: answer(query) for query in backend.queries(wanted)}, Override())
    assert not plan.conflicts
    for action in plan.actions:
        match action:
            case MakeDirectory():
                files.make_directory(action.path, action.uid, action.gid, action.mode)
            case CreateFile():
                files.create_file(action.path, action.uid, action.gid, action.mode)
            case WriteFile():
                files.commit(files.stage(action.path, action.content, action.mode), action.path)
    again = backend.plan(wanted, {query: answer(query) for query in backend.queries(wanted)}, Override())
    assert again.actions == ()


@pytest.mark.needs_root
def test_a_real_cron_runs_a_schedule_exactly_as_meant_and_is_found_as_the_reader(public_tmp: Path):
    place = public_tmp / "50% of 'it'\\\\%"  # paths need the same care as words
    release = place / "releases" / "1"
    release.mkdir(parents=True)
    (place / "current").symlink_to(release)
    (release / "recorder.py").write_text(RECORDER)
    variables = (("APP_ENV", "production"), ("ODD", 'it\'s "5%" \\% #1'))
    of = Project("myapp", str(place), str(place / "logs"), ACCOUNT, variables)
    recorder = ("/usr/bin/python3", "recorder.py", *TRICKY)
    in_shell = ("/bin/sh", "-c", "date +%Y; echo 'a\\\\b' >&2; exec printf '%s\\n' \"$LOGNAME\"")
    with TemporaryCron(public_tmp) as cron:
        where = site()
        where = type(where)(
            **{f: getattr(where, f) for f in where.__slots__} | {"cron_dir": str(cron.cron_dir)}
        )
        set_up(
            Wanted(
                of, (schedule("exact", argv=recorder, of=of), schedule("shell", argv=in_shell, of=of)), where
            )
        )

        daemon = RealCronDaemon()
        os.utime(cron.cron_dir, (0, 0))  # as if cron had looked in the second of the change, before it
        daemon.announce(str(cron.cron_dir / "shiftboss-myapp"))
        assert daemon.reader(str(cron.cron_dir)) == cron.pid
        assert daemon.reader(str(public_tmp)) is None
        assert daemon.reader("/etc/cron.d") != cron.pid  # it sees another directory there

        files = {name: place / "logs" / f"{name}.log" for name in ("exact", "shell")}
        wait_until(
            lambda: all(f.read_text().endswith("\n") for f in files.values()), ONE_RUN_SECONDS, what="a run"
        )
        wait_until(lambda: files["shell"].read_text().count("\n") == 3, what="all lines of the shell")
    assert daemon.reader(str(cron.cron_dir)) is None

    seen = json.loads(files["exact"].read_text().splitlines()[0])
    assert tuple(seen["argv"]) == TRICKY
    assert (seen["uid"], seen["directory"], seen["stdin"]) == (ACCOUNT.uid, str(release), "")
    assert seen["environment"] == {
        "HOME": ACCOUNT.home,
        "LOGNAME": "nobody",
        "USER": "nobody",
        "PATH": of.path,
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "MAILTO": "",
        "APP_ENV": "production",
        "ODD": variables[1][1],
    }
    year, backslashes, user = files["shell"].read_text().splitlines()
    assert (year.isdigit(), backslashes, user) == (True, "a\\\\b" if _echo_is_plain() else "a\\b", "nobody")


def _echo_is_plain() -> bool:
    """Tell whether echo of /bin/sh leaves backslashes alone (that of dash does not)."""
    printed = subprocess.run(["/bin/sh", "-c", r"echo 'a\\b'"], capture_output=True, text=True, check=True)
    return printed.stdout == "a\\\\b\n"


@pytest.mark.needs_root
def test_a_process_of_another_user_that_calls_itself_cron_is_no_cron_daemon(public_tmp: Path):
    shutil.copy("/bin/sleep", public_tmp / "cron")
    impostor = subprocess.Popen(
        [public_tmp / "cron", "60"], user=ACCOUNT.uid, group=ACCOUNT.gid, extra_groups=[]
    )
    try:
        comm = Path(f"/proc/{impostor.pid}/comm")
        wait_until(lambda: comm.read_text() == "cron\n", what="the impostor")
        assert RealCronDaemon().reader("/etc/cron.d") != impostor.pid
    finally:
        impostor.send_signal(signal.SIGKILL)
        impostor.wait()


def test_no_daemon_reads_a_directory_that_does_not_exist(tmp_path: Path):
    assert RealCronDaemon().reader(str(tmp_path / "none")) is None


def proc(root: Path, pid: int, comm: str, parent: int = 1, uid: int = 0, program: str | None = None) -> None:
    directory = root / "proc" / str(pid)
    directory.mkdir(parents=True)
    (directory / "comm").write_text(f"{comm}\n")
    (directory / "status").write_text(f"Name:\t{comm}\nPPid:\t{parent}\nUid:\t{uid}\t0\t0\t0\n")
    (directory / "cmdline").write_text(f"/usr/sbin/{comm}\0-f\0" if program is None else program)
    (directory / "root").symlink_to(root)


@pytest.mark.parametrize("comm", ["cron", "crond"])
def test_the_daemon_is_named_and_not_its_children(tmp_path: Path, comm: str):
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    proc(tmp_path, 90, comm, parent=700)
    proc(tmp_path, 700, comm)
    proc(tmp_path, 701, comm, parent=700)
    proc(tmp_path, 50, "sshd")
    proc(tmp_path, 60, comm, uid=1000)
    assert RealCronDaemon(str(tmp_path)).reader(str(tmp_path / "etc/cron.d")) == 700


@pytest.mark.parametrize("program", ["CRON\0-f\0", "/USR/SBIN/CRON\0", ""], ids=["job", "path", "zombie"])
def test_a_job_that_outlives_the_daemon_is_no_daemon(tmp_path: Path, program: str):
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    proc(tmp_path, 701, "cron", program=program)
    assert RealCronDaemon(str(tmp_path)).reader(str(tmp_path / "etc/cron.d")) is None


def test_all_crontabs_but_our_own_are_read_as_far_as_they_can_be(tmp_path: Path):
    texts = {
        "etc/crontab": b"a\n",
        "etc/cron.d/shiftboss-myapp": b"ours\n",
        "etc/cron.d/other": b"b\n",
        "etc/cron.d/.hidden": b"no\n",
        "etc/cron.d/x.dpkg-new": b"no\n",
        "var/spool/cron/crontabs/deploy": b"latin \xe9\n",
        "var/spool/cron/redhat": b"c\n",
        "var/spool/cron/crontabs/big": b"x" * 1_000_000,
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    os.mkfifo(tmp_path / "var/spool/cron/crontabs/fifo")
    (tmp_path / "var/spool/cron/crontabs/link").symlink_to("/etc/passwd")
    seen = RealCronDaemon(str(tmp_path)).other_crontabs(str(tmp_path / "etc/cron.d/shiftboss-myapp"))
    assert {path.removeprefix(f"{tmp_path}/"): text[:8] for path, text in seen.items()} == {
        "etc/crontab": "a\n",
        "etc/cron.d/other": "b\n",
        "var/spool/cron/crontabs/deploy": "latin \ufffd\n",
        "var/spool/cron/redhat": "c\n",
        "var/spool/cron/crontabs/big": "x" * 8,
    }


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def systemd(root: Path) -> None:
    (root / "run/systemd/system").mkdir(parents=True)
    touch(root, "lib/systemd/system/cron.service", "etc/rc2.d/S01cron")


def enabled(root: Path) -> None:
    systemd(root)
    touch(root, "etc/systemd/system/multi-user.target.wants/cron.service")


def masked(root: Path) -> None:
    enabled(root)
    (root / "etc/systemd/system/cron.service").symlink_to("/dev/null")


def script_below_systemd(root: Path) -> None:
    (root / "run/systemd/system").mkdir(parents=True)
    touch(root, "etc/rc2.d/S01cron")


def system_v(root: Path) -> None:
    proc(root, 1, "init")
    touch(root, "etc/rc2.d/S01cron")


def system_v_disabled(root: Path) -> None:
    proc(root, 1, "init")
    touch(root, "etc/rc2.d/K01cron", "etc/rc2.d/S01anacron")


def openrc(root: Path) -> None:
    proc(root, 1, "openrc-init")
    touch(root, "etc/runlevels/default/cron")


def container(root: Path) -> None:
    proc(root, 1, "tini")
    touch(root, "etc/rc2.d/S01cron")


@pytest.mark.parametrize(
    ("machine", "starts"),
    [
        (enabled, True),
        (systemd, False),
        (masked, False),
        (script_below_systemd, True),
        (system_v, True),
        (system_v_disabled, False),
        (openrc, True),
        (container, None),
    ],
)
def test_what_starts_at_boot_is_known_for_the_usual_inits(
    machine: Callable[[Path], None], starts: bool | None, tmp_path: Path
):
    machine(tmp_path)
    assert RealBoot(str(tmp_path)).starts(("cron", "crond")) is starts
    assert RealBoot(str(tmp_path)).starts(("crond",)) is (None if starts is None else False)


START = """
import json, os, resource, sys
print("first", flush=True)
print(json.dumps([dict(os.environ), os.getcwd(), os.umask(0), os.getsid(0) == os.getpid(), sys.stdin.read(),
    os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]), flush=True)
sys.exit("the end")
"""


@pytest.mark.needs_root
def test_a_command_is_started_as_a_line_of_the_daemon_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ONLY_HERE", "1")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with TemporaryCron(tmp_path) as cron:
        wanted = [
            resource.prlimit(cron.pid, resource.RLIMIT_NOFILE)[0],
            os.getpriority(os.PRIO_PROCESS, cron.pid),
        ]
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] // 2, before[1]))
        try:
            started = RealCronDaemon().start(("/usr/bin/python3", "-I", "-c", START), str(cron.cron_dir))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert started.line() == "first"
        finished = wait_until(lambda: started.ended(0.1), 20, what="its end")
    assert finished
    assert (finished.status, finished.stderr) == (1, "the end\n")
    environment, directory, umask, leads, read, priority, files = json.loads(finished.stdout)
    home = pwd.getpwuid(0).pw_dir
    found = {name: environment[name] for name in environment if name != "LC_CTYPE"}  # Python's own
    assert found == {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "HOME": home, "LOGNAME": "root"}
    assert (directory, umask, leads, read) == (home, 0o022, True, "")
    assert [files, priority] == wanted


def test_a_command_that_is_not_there_is_refused():
    with pytest.raises(HostError, match="cannot start /no/such: no such file"):
        RealCronDaemon().start(("/no/such",), "/no/such")
