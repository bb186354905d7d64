"""A hostile program of one project tries to get at another, at the machine, and out of its bounds. About 20 s.

Each attempt is made without isolation first: there it succeeds, so that the test tells something.
"""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confine_rig import DEADLINE, PYTHON, World, world
from msgspec.structs import replace
from tests.waiting import wait_until

from shiftboss.core.isolation import outlying_path
from shiftboss.core.outlying import Home, outlying_text
from shiftboss.core.spec import Limits

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(60)]
LEVELS = ("standard", "strict")


@pytest.fixture(name="made")
def fixture_made() -> Iterator[World]:
    with world() as made:
        yield made


def attempts(*expressions: str) -> str:
    """Return a program that prints for each expression its value, or the name of the exception it raised."""
    return f"""
import ctypes, glob, json, os, signal, socket, subprocess, sys
found = []
for expression in {list(expressions)!r}:
    try:
        found.append(eval(expression))
    except Exception as error:
        found.append(type(error).__name__)
print(json.dumps(found))
"""


def of_victim(made: World) -> list[str]:
    root, logs = made.victim.root, made.victim.logs
    return [
        f"open({root + '/.env'!r}).read()",
        f"open({logs + '/queue.log'!r}).read()",
        f"os.listdir({root!r})",
    ]


def test_without_isolation_another_project_can_be_read(made: World) -> None:
    secret, log, names = made.answer(attempts(*of_victim(made)))
    assert (secret, log) == (f"SECRET={made.victim.name}", f"log of {made.victim.name}")
    assert "current" in names


@pytest.mark.parametrize("level", LEVELS)
def test_files_and_logs_of_another_project_are_not_there(made: World, level: str) -> None:
    assert made.answer(attempts(*of_victim(made)), level=level) == ["FileNotFoundError"] * 3


@pytest.mark.parametrize("level", LEVELS)
def test_ones_own_files_are_there(made: World, level: str) -> None:
    mine = made.mine
    own = attempts(
        "open('version').read()",
        f"open({mine.root + '/.env'!r}).read()",
        f"open({mine.logs + '/queue.log'!r}).read()",
        f"os.listdir({os.path.dirname(mine.root)!r})",
        f"open({mine.logs + '/own.log'!r}, 'w').write('x')",
        f"open({mine.root + '/shared/upload'!r}, 'w').write('x')",
    )
    assert made.answer(own, level=level) == [
        "1",
        f"SECRET={mine.name}",
        f"log of {mine.name}",
        [mine.name],
        1,
        1,
    ]


def place(made: World, name: str, owner: int) -> str:
    """Make a directory of a project outside of the layout, with a file that everybody may read."""
    directory = made.top / "elsewhere" / name
    directory.mkdir(parents=True)
    (directory / ".env").write_text(f"SECRET={name}")
    for path in (directory.parent, directory, directory / ".env"):
        os.chown(path, owner, owner)
    return str(directory)


def register(made: World, *homes: Home) -> None:
    """Write the list as commands of ours do when a project is registered."""
    Path(outlying_path(made.site)).write_text(outlying_text(made.site, homes, "", ()))


def test_a_project_that_comes_later_and_outside_of_the_layout_is_hidden_at_the_next_start(
    made: World,
) -> None:
    """The orders are the same before and after: nobody is restarted for it."""
    root = place(made, "web", made.victim.account.uid)
    read = f"open({root + '/.env'!r}).read()"
    made.order(made.confined(PYTHON, "-I", "-c", attempts(read), level="standard"))
    orders = (made.top / "orders" / f"{made.mine.name}.json").read_bytes()
    assert launched(made) == ["SECRET=web"]
    register(made, Home("web", root, f"{root}/logs"), Home("mine", made.mine.root, made.mine.logs))
    assert launched(made) == ["FileNotFoundError"]
    assert (made.top / "orders" / f"{made.mine.name}.json").read_bytes() == orders


def launched(made: World) -> object:
    finished = subprocess.run(made.command(), capture_output=True, timeout=DEADLINE, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    return json.loads(finished.stdout)


def test_a_project_around_ones_own_is_hidden_but_for_ones_own(made: World) -> None:
    neighbour = made.top / "projects" / made.mine.name / "shared" / "guest"
    neighbour.mkdir()
    (neighbour / ".env").write_text("SECRET=guest")
    inner = place(made, "shop/app", made.mine.account.uid)
    place(made, "shop/other", made.victim.account.uid)
    made.mine = replace(made.mine, logs=inner)
    around = Home("around", str(made.top / "elsewhere"), made.victim.logs)
    register(made, around, Home("guest", str(neighbour), "/g"), Home("mine", made.mine.root, inner))
    tries = attempts(
        f"os.listdir({str(made.top / 'elsewhere/shop')!r})",
        "open('../../.env').read()",
        f"open({inner + '/.env'!r}).read()",
        f"open({inner + '/own.log'!r}, 'w').write('x')",
        f"os.listdir({str(neighbour)!r})",
    )
    assert made.answer(tries, level="standard") == [
        ["app"],
        f"SECRET={made.mine.name}",
        "SECRET=shop/app",
        1,
        [],
    ]


def test_a_link_in_the_place_of_an_outlying_project_covers_nothing_else(made: World) -> None:
    root = Path(place(made, "web", made.victim.account.uid))
    shutil.rmtree(root)
    root.symlink_to("/usr")
    os.chown(root, made.victim.account.uid, -1, follow_symlinks=False)
    register(made, Home("web", str(root), "/nowhere/logs"))
    assert made.answer(attempts("os.path.isdir('/usr/bin')"), level="standard") == [True]


def test_a_directory_of_another_that_cannot_be_entered_ends_no_start(made: World) -> None:
    """As on a network file system that is closed to root; a name that is too long fails in the same place."""
    register(made, Home("far", "/" + "x" * 300, "/nowhere/logs"))
    finished = made.python("print('up')", level="standard")
    assert (finished.returncode, finished.stdout) == (0, b"up\n")
    assert b": note: a directory of another project is not hidden: File name too long" in finished.stderr


def test_a_new_release_is_seen_and_a_new_project_is_not(made: World) -> None:
    follow = """
import os, sys
for line in sys.stdin:
    print(open(os.path.join(sys.argv[1], "current/version")).read(), os.listdir(os.path.dirname(sys.argv[1])), flush=True)
"""
    made.order(made.confined(PYTHON, "-I", "-c", follow, made.mine.root, level="standard"))
    pipe = subprocess.PIPE
    with subprocess.Popen(made.command(), stdin=pipe, stdout=pipe) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"look\n")
        process.stdin.flush()
        assert process.stdout.readline().decode() == f"1 ['{made.mine.name}']\n"
        deploy(made, "2")
        (made.top / "projects/newcomer").mkdir()
        process.stdin.write(b"look\n")
        process.stdin.close()
        assert process.stdout.readline().decode() == f"2 ['{made.mine.name}']\n"


def deploy(made: World, version: str) -> None:
    """Switch `current` to a new release, as deployment tools do."""
    root = made.top / "projects" / made.mine.name
    (root / "releases" / version).mkdir()
    (root / "releases" / version / "version").write_text(version)
    (root / "next").symlink_to(f"releases/{version}")
    (root / "next").rename(root / "current")


def test_what_hides_cannot_be_taken_off_in_a_namespace_of_ones_own(made: World) -> None:
    parent, secret = os.path.dirname(made.mine.root), f"{made.victim.root}/.env"
    script = f"mount -t tmpfs none /mnt && echo root; umount {parent}; umount -l {parent}; cat {secret}"
    program = attempts(
        f"subprocess.run(['unshare', '-Urm', 'sh', '-c', {script!r}], capture_output=True).stdout.decode()"
    )
    assert made.answer(program) == [f"root\nSECRET={made.victim.name}"]
    assert made.answer(program, level="standard") == ["root\n"], "it can mount, and takes nothing off"


@pytest.fixture(name="other")
def fixture_other(made: World) -> Iterator["subprocess.Popen[bytes]"]:
    """Give a process of the victim with a secret in its command line."""
    uid = made.victim.account.uid
    with subprocess.Popen(["/bin/sleep", "1000.5"], user=uid, group=uid, extra_groups=[]) as process:
        yield process
        process.kill()


def at_process(pid: int) -> list[str]:
    return [
        f"open('/proc/{pid}/cmdline').read()",
        f"os.path.exists('/proc/{pid}')",
        f"os.kill({pid}, 15)",
        f"ctypes.CDLL(None).ptrace(16, {pid}, 0, 0)",
        f"open('/proc/{pid}/environ').read()",
        f"os.listdir('/proc/{pid}/root')",
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_processes_of_another_project_are_out_of_sight_and_reach(
    made: World, other: "subprocess.Popen[bytes]", level: str
) -> None:
    open_ = made.answer(attempts(*at_process(other.pid)))
    assert open_[0] == "/bin/sleep\x001000.5\x00"
    shut = made.answer(attempts(*at_process(other.pid)), level=level)
    assert shut == [
        "FileNotFoundError",
        False,
        "PermissionError",
        -1,
        "FileNotFoundError",
        "FileNotFoundError",
    ]
    assert other.poll() is None


def seen_processes(made: World, **confinement: Any) -> int:
    return int(
        made.answer(attempts("len([n for n in os.listdir('/proc') if n.isdigit()])"), **confinement)[0]
    )


def test_only_ones_own_processes_are_in_proc(made: World) -> None:
    assert seen_processes(made) > 3
    assert seen_processes(made, level="standard") == 1


@pytest.fixture(name="setuid")
def fixture_setuid(made: World) -> str:
    """Give a setuid root program that tells who it is."""
    path = made.top / "projects" / made.mine.name / "whoami"
    shutil.copy("/usr/bin/id", path)
    path.chmod(0o4755)
    return f"subprocess.run([{str(path)!r}, '-u'], capture_output=True).stdout.decode().strip()"


@pytest.mark.parametrize("level", LEVELS)
def test_setuid_programs_give_no_rights_unless_that_is_asked_for(
    made: World, setuid: str, level: str
) -> None:
    own = str(made.mine.account.uid)
    assert made.answer(attempts(setuid)) == ["0"]
    assert made.answer(attempts(setuid), level=level) == [own]
    asked = made.answer(attempts(setuid), level="standard", no_new_privs=False)
    assert asked == ["0"]


def status_of(made: World, **confinement: Any) -> dict[str, str]:
    (text,) = made.answer(attempts("open('/proc/self/status').read()"), **confinement)
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def test_root_is_given_up_for_good(made: World) -> None:
    uid = str(made.mine.account.uid)
    for level in (None, *LEVELS):
        found = status_of(made, level=level)
        assert found["Uid"].split() == found["Gid"].split() == [uid] * 4
        assert found["Groups"] == uid
        assert [int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
        assert found["NoNewPrivs"] == ("1" if level else "0")
        assert (int(found["CapBnd"], 16) == 0) is (level == "strict")
    assert (
        made.answer(attempts("os.setuid(0)", "os.setgroups([0])"), level="strict") == ["PermissionError"] * 2
    )


def test_the_program_gets_nothing_of_whoever_started_it(made: World) -> None:
    made.order(
        made.confined(
            PYTHON,
            "-I",
            "-c",
            attempts(
                "dict(os.environ)",
                "sorted(os.listdir('/proc/self/fd'))",
                "os.umask(0)",
                "__import__('resource').getrlimit(4)",
                "[line for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn'))]",
            ),
            level="standard",
        )
    )
    descriptor = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    finished = subprocess.run(
        made.command(),
        env={**os.environ, "ROOTS_SECRET": "x", "LD_PRELOAD": "", "SUPERVISOR_ENABLED": "1"},
        close_fds=False,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    os.close(descriptor)
    variables, files, umask, core, signals = json.loads(finished.stdout)
    account = made.mine.account
    assert variables.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own
    assert variables == {
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": "/bin/sh",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
    }
    assert files == ["0", "1", "2", "3"], "3 is the listing itself"
    assert umask == 0o027
    assert core == [0, 0]
    assert int(signals[0].split()[1], 16) == 0
    # Python itself ignores SIGPIPE and SIGXFSZ; 32 and 33 are out of reach (glibc keeps them to itself)
    assert int(signals[1].split()[1], 16) & ~(3 << 31) == 1 << 12 | 1 << 24


AT_A_TERMINAL = """
import fcntl, os, subprocess, sys, termios
os.setsid()
ours, theirs = os.openpty()
fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
SEES_IT = "import json, os\ntry:\n    print(os.open('/dev/tty', os.O_RDWR) > 2 and 'true')\nexcept OSError:\n    print('false')"


def test_the_terminal_of_whoever_starts_it_is_not_its_own(made: World) -> None:
    """A program that has root's terminal can type commands into it."""
    before = (PYTHON, "-c", AT_A_TERMINAL)
    direct = subprocess.run(
        [*before, PYTHON, "-c", SEES_IT], capture_output=True, timeout=DEADLINE, check=True
    )
    assert json.loads(direct.stdout) is True
    finished = made.run(made.confined(PYTHON, "-I", "-c", SEES_IT), before=before)
    assert json.loads(finished.stdout) is False


KEYS = """
import ctypes, os, sys
add, ask, control = {"x86_64": (248, 249, 250)}.get(os.uname().machine, (217, 218, 219))
call, room = ctypes.CDLL(None).syscall, ctypes.create_string_buffer(20)
def read(key):
    return call(control, 11, key, room, ctypes.c_size_t(20)) > 0 and room.value.decode()
"""
WITH_A_KEY = f"""{KEYS}
call(control, 1, None)  # a session of this test's own
key = call(add, b"user", b"shiftboss-test", b"of root", ctypes.c_size_t(7), -3)
os.execv(sys.argv[1], sys.argv[1:])
"""
READS_IT = f"{KEYS}\nimport json\nprint(json.dumps(read(call(ask, b'user', b'shiftboss-test', None, 0))))"


@pytest.mark.parametrize("level", LEVELS)
def test_the_keys_of_the_session_that_started_it_are_not_its_own(made: World, level: str) -> None:
    """The kernel lets every process of a session use its keys, also one of another user."""

    def answer(program: str, **confinement: Any) -> object:
        entry = made.confined(PYTHON, "-I", "-c", program, **confinement)
        return json.loads(made.run(entry, before=(PYTHON, "-c", WITH_A_KEY)).stdout)

    direct = subprocess.run(
        [PYTHON, "-c", WITH_A_KEY, PYTHON, "-c", READS_IT], capture_output=True, check=True
    )
    assert answer(READS_IT) == json.loads(direct.stdout), "false where this machine gives nobody keys"
    assert answer(READS_IT, level=level) is False


def test_strict_has_a_tmp_of_its_own_that_ends(made: World) -> None:
    foreign = made.top / "foreign"
    foreign.write_text("x")
    fill = "open('/tmp/shiftboss-full', 'wb').write(bytes(40 << 20))"
    found = made.answer(
        attempts(
            f"os.path.exists({str(foreign)!r})",
            fill,
            "os.path.getsize('/tmp/shiftboss-full') <= 32 << 20",
            "os.listdir('/var/tmp')",
        ),
        level="strict",
        bounds=Limits(memory_bytes=64 << 20),
    )
    assert found[0] is False
    assert found[1] == "OSError"
    assert found[2:] == [True, []]
    assert not os.path.exists("/tmp/shiftboss-full")


def test_standard_shares_tmp_since_uploads_come_that_way(made: World) -> None:
    (made.top / "upload").write_text("x")
    assert made.answer(attempts(f"open({str(made.top / 'upload')!r}).read()"), level="standard") == ["x"]


def test_strict_can_write_into_shared_and_logs_only(made: World) -> None:
    devices = "[name for name in ('mem', 'kmsg', 'vda', 'sda') if os.path.exists(f'/dev/{name}')]"
    assert made.answer(attempts(devices)) != [[]]
    release = attempts(
        "open('version', 'w')",
        f"os.mkdir({made.mine.root + '/releases/3'!r})",
        f"os.symlink('/etc', {made.mine.root + '/next'!r})",
        "open('/dev/shm/x', 'w').write('x')",
        devices,
        "open('/dev/null', 'w').write('x')",
        "len(open('/dev/urandom', 'rb').read(8))",
        "os.mknod('/tmp/disk', 0o060600, 1)",
    )
    assert made.answer(release, level="strict") == [*["OSError"] * 3, 1, [], 1, 8, "PermissionError"]


# as on Linux 5.10, which has no mount_setattr(2): a seccomp filter; and a mount that `hide` will cover
OLD_KERNEL = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("HBBI", *row) for row in (
    (0x20, 0, 0, 0),  # load the number of the system call
    (0x15, 0, 1, 442),  # not mount_setattr: skip one
    (0x06, 0, 0, 0x00050000 | 38),  # ENOSYS
    (0x06, 0, 0, 0x7FFF0000),  # allow
))
buffer = ctypes.create_string_buffer(code, len(code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer)))
assert not libc.unshare(0x20000)
assert not libc.mount(b"", b"/", b"", 16384 | 1 << 18, None)
assert not libc.mount(b"tmpfs", os.fsencode(sys.argv[1]), b"tmpfs", 0, None)
assert not libc.prctl(22, 2, program, 0, 0), os.strerror(ctypes.get_errno())
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_before_linux_5_12_each_mount_is_made_read_only_but_those_that_are_covered(made: World) -> None:
    tries = attempts(
        "open('version', 'w')",
        "open('/dev/shm/x', 'w').write('x')",
        f"open({made.mine.logs + '/own.log'!r}, 'w').write('x')",
        "[line for line in open('/proc/self/mountinfo') if ' - tmpfs' not in line and line.split()[5][:2] != 'ro']",
    )
    made.order(made.confined(PYTHON, "-I", "-c", tries, level="strict"))
    before = (PYTHON, "-c", OLD_KERNEL, made.victim.root + "/shared")
    finished = subprocess.run(made.command(before=before), capture_output=True, timeout=DEADLINE, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
    release, shm, log, writable = json.loads(finished.stdout)
    assert (release, shm, log) == ("OSError", 1, 1)
    covered = ("/proc", "/dev")  # others lie on the machine's own
    reachable = [line.split()[4] for line in writable if not line.split()[4].startswith(covered)]
    assert set(reachable) == {made.mine.logs, f"{made.mine.root}/shared"}


def test_a_link_in_the_place_of_shared_opens_nothing(made: World) -> None:
    outside = made.top / "outside"
    outside.mkdir()
    os.chown(outside, made.mine.account.uid, -1)
    shared = made.top / "projects" / made.mine.name / "shared"
    shared.rmdir()
    shared.symlink_to(outside)
    os.chown(shared, made.mine.account.uid, -1, follow_symlinks=False)
    finished = made.python(attempts(f"open({str(outside / 'x')!r}, 'w').write('x')"), level="strict")
    assert json.loads(finished.stdout) in (["OSError"], ["FileNotFoundError"])
    assert b"shared cannot be written: there is no such directory" in finished.stderr


def test_a_private_network_has_no_way_out(made: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"socket.create_connection(('127.0.0.1', {port}), 2).close()"
        names = "[name for _, name in socket.if_nameindex()]"
        listen = "socket.create_server(('127.0.0.1', 0))"
        own = f"(lambda server: socket.create_connection(server.getsockname(), 2).close())({listen})"
        assert made.answer(attempts(connect), level="strict") == [None]
        assert made.answer(
            attempts(connect, "'lo' in " + names, own), level="standard", private_network=True
        ) == [
            "ConnectionRefusedError",
            True,
            None,
        ]


def test_where_namespaces_are_not_allowed_it_starts_and_says_so(made: World) -> None:
    made.order(made.confined(PYTHON, "-I", "-c", attempts(*of_victim(made)), level="strict"))
    without = ("setpriv", "--bounding-set", "-sys_admin")
    finished = subprocess.run(
        made.command(before=without), capture_output=True, timeout=DEADLINE, check=False
    )
    assert json.loads(finished.stdout)[0] == f"SECRET={made.victim.name}"
    assert b": note: other projects and processes are not hidden: " in finished.stderr
    assert finished.returncode == 0


def test_the_machine_itself_is_as_it_was(made: World) -> None:
    with open("/proc/self/mountinfo") as file:
        before = file.read()
    for level in LEVELS:
        assert made.python("pass", level=level, private_network=True).returncode == 0
    with open("/proc/self/mountinfo") as file:
        assert file.read() == before


def test_signals_go_straight_to_the_program(made: World) -> None:
    program = "import os, signal, sys\nsignal.signal(15, lambda *_: sys.exit(9))\nprint(os.getpid(), flush=True)\nsignal.pause()"
    with made.start(made.confined(PYTHON, "-I", "-c", program, level="strict")) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.terminate()
        assert process.wait(DEADLINE) == 9
    wait_until(lambda: not os.path.exists(f"/proc/{process.pid}"), DEADLINE)
