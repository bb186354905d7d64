"""What a program has when it starts, and what is said when it cannot."""

import errno
import json
import os
import pwd
import resource
import signal

import pytest
from keeper_kinds import Kind, every_kind, keeper_of
from keeper_rig import PYTHON, Rig, read_all, rig

from shiftboss.core.wire import messages

LOOK = """
import json, os, resource, signal, sys
ignored = [n for n in range(1, 65) if n not in (9, 19, 32, 33) and signal.getsignal(n) == signal.SIG_IGN]
print(json.dumps({
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "cwd": os.getcwd(),
    "umask": os.umask(0), "session": os.getsid(0) == os.getpid(), "files": sorted(os.listdir("/proc/self/fd")),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE), "stdin": os.readlink("/proc/self/fd/0"),
    "status": {r.split(":")[0]: r.split()[1] for r in open("/proc/self/status") if r[:3] == "Sig"},
    "environment": dict(os.environ), "argv": sys.argv,
}))
"""
IGNORED_BY_PYTHON = 1 << 12 | 1 << 24  # SIGPIPE, SIGXFSZ: the looking Python ignores them itself


def look(made: Rig, **fields: object) -> dict[str, object]:
    """Start a Python that tells what it has, and return that."""
    made.write(made.entry(PYTHON, "-I", "-c", LOOK, "a b", "$c", **fields))
    engine = made.start().synced()
    _, output = engine.spawn()
    return json.loads(read_all(output))


def ignored(status: dict[str, str]) -> int:
    """Return the mask of ignored signals, without those that the C library keeps for itself (nptl(7)): nobody can set them."""
    return int(status["SigIgn"], 16) & sum(1 << (number - 1) for number in signal.valid_signals())


@every_kind
def test_program_has_what_its_entry_says_and_nothing_of_ours(kind: Kind) -> None:
    with keeper_of(kind) as made:
        user = kind.user or "news"
        account = pwd.getpwnam(user)
        found = look(
            made, user=user, umask=0o027, environment={"COLOUR": "blue"}, rlimits={"NOFILE": (100, 200)}
        )
        assert found["uids"] == [account.pw_uid] * 3
        assert found["gids"] == [account.pw_gid] * 3
        assert found["groups"] in ([account.pw_gid], [])
        assert found["cwd"] == str(made.releases / "1")
        assert found["umask"] == 0o027
        assert found["session"]
        assert found["stdin"] == "/dev/null"
        assert found["nofile"] == [100, 200]
        assert found["argv"] == ["-c", "a b", "$c"]
        assert len(found["files"]) == 4, "0, 1, 2 and the directory being listed"
        status = found["status"]
        assert int(status["SigBlk"], 16) == 0
        assert ignored(status) & ~IGNORED_BY_PYTHON == 0
        environment = found["environment"]
        assert environment.pop("SHIFTBOSS_RUN") == f"{made.instance}/app/worker/1/1"
        environment.pop("LC_CTYPE", None)  # Python's own
        assert environment == {
            "HOME": account.pw_dir,
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "COLOUR": "blue",
        }


@pytest.mark.needs_root
def test_file_limit_of_the_keeper_is_not_passed_on() -> None:
    with rig() as made:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        made.write(made.entry(PYTHON, "-I", "-c", LOOK))
        engine = made.start(before=("prlimit", f"--nofile=512:{hard}")).synced()
        assert json.loads(read_all(engine.spawn()[1]))["nofile"] == [512, hard]


@pytest.mark.needs_root
def test_sigpipe_and_hangup_are_not_ignored_even_if_the_keeper_was_started_by_nohup() -> None:
    with rig() as made:
        made.write(made.entry("cat", "/proc/self/status"))
        engine = made.start(before=("nohup",)).synced()
        rows = dict(row.split(":\t", 1) for row in read_all(engine.spawn()[1]).decode().splitlines())
        assert ignored(rows) == 0
        assert int(rows["SigBlk"], 16) == 0
        assert int(rows["SigCgt"], 16) == 0


@pytest.mark.needs_root
def test_supplementary_groups_are_those_of_the_entry() -> None:
    with rig() as made:
        made.write(made.entry("id", "-G", user="games", groups=(4, 20)))
        assert read_all(made.start().synced().spawn()[1]).split() == [b"60", b"4", b"20"]


@pytest.mark.needs_root
def test_each_start_enters_the_release_that_current_leads_to_then() -> None:
    with rig() as made:
        (made.releases / "2").mkdir()
        made.write(made.entry("sleep", "100"))
        engine = made.start().synced()
        assert engine.spawn(run=1)[0].release == str(made.releases / "1")
        engine.end("app/worker", 1, 1)
        made.current.unlink()
        made.current.symlink_to("releases/2")
        spawned, _ = engine.spawn(run=2)
        assert spawned.release == str(made.releases / "2")
        assert os.readlink(f"/proc/{spawned.pid}/cwd") == spawned.release


@pytest.mark.needs_root
def test_env_file_is_read_with_the_rights_of_the_user_and_the_unit_wins_over_it() -> None:
    with rig() as made:
        file = made.releases / "1" / ".env"
        file.write_text(
            "# a comment\nexport A=\"one\\ntwo\" # more\nB='$x'\nC=plain words # no\nLANG=lv\nnonsense\n"
        )
        file.chmod(0o600)
        entry = made.entry(
            "env", user="games", env_file=str(made.current / ".env"), environment={"B": "unit"}
        )
        made.write(entry)
        engine = made.start().synced()
        engine.send(messages.Spawn("app/worker", 1, 1))
        failed = engine.expect(messages.SpawnFailed)
        assert (failed.step, failed.errno) == ("env_file", errno.EACCES)
        assert failed.words == f"cannot read {made.current}/.env: Permission denied"
        engine.send(messages.Forget("app/worker", 1, 1))
        os.chown(file, entry.uid, -1)
        rows = read_all(engine.spawn(run=2)[1]).decode()
        assert "A=one\ntwo\n" in rows
        assert "C=plain words\n" in rows
        assert "B=unit\n" in rows
        assert "LANG=lv\n" in rows
        assert f"SHIFTBOSS_RUN={made.instance}/app/worker/1/2" in rows


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["fifo", "missing", "large", "directory"])
def test_strange_env_files(kind: str) -> None:
    with rig() as made:
        file = made.releases / "1" / ".env"
        {
            "fifo": lambda: os.mkfifo(file, 0o666),
            "missing": lambda: None,
            "large": lambda: file.write_text("A=" + "x" * 300_000),
            "directory": lambda: file.mkdir(),
        }[kind]()
        made.write(made.entry("true", user="games", env_file=str(made.current / ".env")))
        engine = made.start().synced()
        engine.send(messages.Spawn("app/worker", 1, 1))
        if kind == "missing":
            assert engine.expect(messages.Exited).exit.code == 0
        else:
            assert engine.expect(messages.SpawnFailed).step == "env_file"


FAILURES = {
    "no release": (
        {"unlink": True},
        "directory",
        errno.ENOENT,
        "cannot enter {current}: No such file or directory",
    ),
    "closed parent": (
        {"close": True},
        "directory",
        errno.EACCES,
        "cannot enter {current}: {app} is closed to games",
    ),
    "not in PATH": (
        {"argv": ("no-such-command",)},
        "command",
        errno.ENOENT,
        "cannot run no-such-command: not found in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    "no such file": (
        {"argv": ("./serve",)},
        "command",
        errno.ENOENT,
        "cannot run ./serve: No such file or directory",
    ),
    "a directory": (
        {"argv": ("/usr",)},
        "command",
        errno.EACCES,
        "cannot run /usr: it is no file that this user may execute",
    ),
    "not executable": (
        {"argv": ("/etc/passwd",)},
        "command",
        errno.EACCES,
        "cannot run /etc/passwd: it is no file that this user may execute",
    ),
    "no interpreter of what PATH finds": (
        {"argv": ("script",), "path": ".", "script": "#!/no/such/interpreter\n"},
        "exec",
        errno.ENOENT,
        "cannot run ./script: its interpreter (the #! line) does not exist",
    ),
    "no interpreter": (
        {"argv": ("./script",), "script": "#!/no/such/interpreter\n"},
        "exec",
        errno.ENOENT,
        "cannot run ./script: its interpreter (the #! line) does not exist",
    ),
    "no #! line": (
        {"argv": ("./script",), "script": "echo hello\n"},
        "exec",
        errno.ENOEXEC,
        "cannot run ./script: it has no #! line and is no program",
    ),
    "unknown limit": (
        {"rlimits": {"COLOUR": (1, 1)}},
        "rlimits",
        errno.EINVAL,
        "cannot set the limit COLOUR: this system has none",
    ),
}


@pytest.mark.needs_root
@pytest.mark.parametrize("case", FAILURES)
def test_each_step_that_fails_is_the_reason(case: str) -> None:
    how, step, number, words = FAILURES[case]
    with rig() as made:
        argv = how.get("argv", ("true",))
        if "script" in how:
            (made.releases / "1" / "script").write_text(how["script"])
            (made.releases / "1" / "script").chmod(0o755)
        if "unlink" in how:
            made.current.unlink()
        if "close" in how:
            made.current.parent.chmod(0o700)
        fields = {"path": how["path"]} if "path" in how else {}
        made.write(made.entry(*argv, user="games", rlimits=how.get("rlimits", {}), **fields))
        engine = made.start().synced()
        engine.send(messages.Spawn("app/worker", 1, 1))
        failed = engine.expect(messages.SpawnFailed)
        expected = words.format(current=made.current, app=made.current.parent)
        assert (failed.step, failed.errno, failed.words) == (step, number, expected)
        again = [report for report in engine.sync() if isinstance(report, messages.SpawnFailed)]
        assert again == [failed], "it is kept until Forget"
        engine.send(messages.Forget("app/worker", 1, 1))
        assert not [report for report in engine.sync() if isinstance(report, messages.SpawnFailed)]


@pytest.mark.needs_root
def test_without_root_another_account_is_refused_as_step_uid() -> None:
    with rig(user="games") as made:
        made.write(made.entry("id", user="news"))
        engine = made.start().synced()
        engine.send(messages.Spawn("app/worker", 1, 1))
        failed = engine.expect(messages.SpawnFailed)
        assert (failed.step, failed.words) == ("uid", "cannot become news: only root can")


@pytest.mark.needs_root
def test_hard_limit_that_cannot_be_raised_is_a_note_and_no_failure() -> None:
    with rig(user="games") as made:
        made.write(made.entry("sh", "-c", "ulimit -Sn; ulimit -Hn", rlimits={"NOFILE": (9999999, 9999999)}))
        engine = made.start(
            before=("setpriv", "--reuid=5", "--regid=60", "--clear-groups", "prlimit", "--nofile=300:700")
        )
        spawned, output = engine.synced().spawn()
        assert spawned.notes == ("the limit NOFILE stays at 700: the hard limit cannot be raised",)
        assert read_all(output) == b"700\n700\n"
