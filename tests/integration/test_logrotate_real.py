"""Files for logrotate, run by the real logrotate with a state file of its own."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shiftboss.backends.contract import Wanted
from shiftboss.backends.logrotate import LogrotateBackend
from shiftboss.core.facts import EngineAccount, FindEngineAccount, Query, ReadFile, StatPath
from shiftboss.core.plan import Override, WriteFile
from shiftboss.core.spec import Account, LogPolicy, Project, Site
from shiftboss.host.files import RealFiles
from tests.small_server import project, schedule, site
from tests.waiting import wait_until

NOBODY = pwd.getpwnam("nobody")
ACCOUNT = Account("nobody", NOBODY.pw_uid, NOBODY.pw_gid, "nogroup", NOBODY.pw_dir)
MAX_BYTES, BACKUPS = 4000, 2
# numbered lines, appended as long as the file `go` is there
WRITER = """
import os, sys, time
number = 0
with open(sys.argv[1], "a", buffering=1) as log:
    while os.path.exists(sys.argv[2]):
        number += 1
        log.write(f"{number:09d} {'x' * 40}\\n")
        time.sleep(0.0005)
"""

if shutil.which("logrotate") is None and not os.path.exists("/usr/sbin/logrotate"):
    pytest.skip("logrotate is not installed", allow_module_level=True)


@dataclass(frozen=True)
class Place:
    """A server of its own for logrotate: configuration, state and one log directory."""

    root: Path
    of: Project
    site: Site

    @property
    def log(self) -> Path:
        return Path(self.of.logs, "job.log")

    def old(self, number: int) -> Path:
        return Path(self.of.logs, f"job.log.{number}")

    def configure(self) -> str:
        """Write the file that the backend plans, below a main file that wants everything otherwise."""
        wanted = Wanted(self.of, (schedule("job", of=self.of, log=LogPolicy(MAX_BYTES, BACKUPS)),), self.site)
        backend, files = LogrotateBackend(), RealFiles()
        answers: dict[Query, object] = {
            query: files.read(query.path) if isinstance(query, ReadFile) else files.stat(query.path)
            for query in backend.queries(wanted)
            if isinstance(query, ReadFile | StatPath)
        }
        answers[FindEngineAccount()] = EngineAccount(53_970, 53_970)
        plan = backend.plan(wanted, answers, Override())
        (write,) = plan.actions
        assert isinstance(write, WriteFile)
        files.commit(files.stage(write.path, write.content, write.mode), write.path)
        main = self.root / "logrotate.conf"
        main.write_text(f"monthly\nrotate 9\ncompress\ndateext\ncreate\ninclude {self.site.logrotate_dir}\n")
        main.chmod(0o644)
        return write.content

    def run(self, *before: str) -> str:
        """Run logrotate once; return what it said."""
        command = [
            *before,
            shutil.which("logrotate") or "/usr/sbin/logrotate",
            "-v",
            "-s",
            str(self.root / "state" / "s"),
        ]
        finished = subprocess.run(
            [*command, str(self.root / "logrotate.conf")], capture_output=True, text=True, timeout=60
        )
        assert finished.returncode == 0, finished.stderr
        assert "error:" not in finished.stderr
        return finished.stderr


def place(root: Path, owner: int, group: int, mode: int, *, system: bool = True, name: str = "logs") -> Place:
    logs = root / name
    for directory in (logs, root / "logrotate.d", root / "state"):
        directory.mkdir()
    of = project(account=ACCOUNT, root=str(root), logs=str(logs))
    server = site(system=system)
    made = Site(
        **{f: getattr(server, f) for f in server.__slots__} | {"logrotate_dir": str(root / "logrotate.d")}
    )
    (logs / "job.log").touch()
    os.chown(logs / "job.log", ACCOUNT.uid, ACCOUNT.gid)
    (logs / "job.log").chmod(0o640)
    os.chown(logs, owner, group)
    logs.chmod(mode)
    return Place(root, of, made)


@pytest.fixture(params=["directory of root", "directory of the project"])
def rotated(request: pytest.FixtureRequest, public_tmp: Path) -> Place:
    if request.param == "directory of root":
        return place(public_tmp, 0, ACCOUNT.gid, 0o2750)
    return place(public_tmp, ACCOUNT.uid, ACCOUNT.gid, 0o750)


@contextmanager
def writer(where: Place) -> Iterator[None]:
    """Append numbered lines as the project user while inside."""
    go = where.root / "go"
    go.touch()
    process = subprocess.Popen(
        ["/usr/bin/python3", "-c", WRITER, str(where.log), str(go)],
        user=ACCOUNT.uid,
        group=ACCOUNT.gid,
        extra_groups=[],
    )
    try:
        yield
    finally:
        go.unlink()
        assert process.wait(30) == 0


def numbers(path: Path) -> list[int]:
    text = path.read_bytes()
    assert b"\0" not in text
    assert all(len(line) == 50 for line in text.splitlines())
    return [int(line.split()[0]) for line in text.splitlines()]


@pytest.mark.needs_root
def test_a_log_is_rotated_in_place_while_a_program_appends(rotated: Place):
    rotated.configure()
    inode = rotated.log.stat().st_ino
    with writer(rotated):
        for turn in range(3):
            wait_until(lambda: rotated.log.stat().st_size > 3 * MAX_BYTES, what="a large log")
            rotated.run()
            wait_until(lambda: rotated.log.stat().st_size > 0, what=f"lines after rotation {turn}")
    assert rotated.log.stat().st_ino == inode  # the program never had to open it again
    assert sorted(path.name for path in Path(rotated.of.logs).iterdir()) == [
        "job.log",
        "job.log.1",
        "job.log.2",
    ]
    for path in (rotated.log, rotated.old(1), rotated.old(2)):
        facts = path.stat()
        assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (ACCOUNT.uid, ACCOUNT.gid, 0o640)
    lines = numbers(rotated.old(2)) + numbers(rotated.old(1)) + numbers(rotated.log)
    assert lines == sorted(set(lines))  # none twice, none out of order (copytruncate may lose some)
    for old in (numbers(rotated.old(2)), numbers(rotated.old(1))):
        assert old == list(range(old[0], old[-1] + 1))  # and within one file none is missing


@pytest.mark.needs_root
def test_a_log_below_the_limit_an_empty_and_a_missing_one_are_left_alone(rotated: Place):
    rotated.configure()
    for size in (0, MAX_BYTES - 1):
        rotated.log.write_bytes(b"x" * size)
        rotated.run()
        assert rotated.log.stat().st_size == size
    rotated.log.write_bytes(b"x" * (MAX_BYTES + 1))
    rotated.run()
    assert (rotated.log.stat().st_size, rotated.old(1).stat().st_size) == (0, MAX_BYTES + 1)
    rotated.log.unlink()
    rotated.run()
    assert not rotated.log.exists()


@pytest.mark.needs_root
def test_who_rotates_depends_on_the_owner_of_the_directory(rotated: Place):
    owner = "root" if Path(rotated.of.logs).stat().st_uid == 0 else "nobody"
    assert f"su {owner} nogroup\n" in rotated.configure()


@pytest.mark.needs_root
def test_links_planted_by_the_project_user_lead_root_nowhere(public_tmp: Path):
    made = place(public_tmp, ACCOUNT.uid, ACCOUNT.gid, 0o750)
    made.configure()
    victim = public_tmp / "victim"
    victim.write_text("of root")
    victim.chmod(0o600)
    for name in ("job.log.1", "job.log.2", "job.log.3"):
        (Path(made.of.logs) / name).symlink_to(victim)
    made.log.write_bytes(b"x" * (MAX_BYTES + 1))
    made.run()
    assert (victim.read_text(), victim.stat().st_uid, victim.stat().st_mode & 0o777) == ("of root", 0, 0o600)
    made.log.unlink()
    made.log.symlink_to(victim)
    made.run()
    assert victim.read_text() == "of root"


@pytest.mark.needs_root
def test_a_group_writable_directory_is_rotated_because_of_the_su_line(public_tmp: Path):
    made = place(public_tmp, 0, ACCOUNT.gid, 0o2770)
    assert "su nobody nogroup" in made.configure()
    made.log.write_bytes(b"x" * (MAX_BYTES + 1))
    assert "insecure" not in made.run()
    assert made.old(1).exists()


@pytest.mark.needs_root
def test_paths_with_blanks_and_other_letters_are_found(public_tmp: Path):
    made = place(public_tmp, 0, ACCOUNT.gid, 0o2750, name="my logs ü % $x;&")
    made.configure()
    made.log.write_bytes(b"x" * (MAX_BYTES + 1))
    made.run()
    assert made.old(1).stat().st_size == MAX_BYTES + 1


@pytest.mark.needs_root
def test_without_backups_nothing_old_is_kept(public_tmp: Path):
    made = place(public_tmp, 0, ACCOUNT.gid, 0o2750)
    text = made.configure()
    file = Path(made.site.logrotate_dir) / "shiftboss-myapp"
    file.write_text(text.replace(f"rotate {BACKUPS}", "rotate 0"))
    made.log.write_bytes(b"x" * (MAX_BYTES + 1))
    made.run()
    assert [path.name for path in Path(made.of.logs).iterdir()] == ["job.log"]
    assert made.log.stat().st_size == 0


def test_a_plain_user_rotates_with_logrotate_of_its_own(public_tmp: Path):
    uid, gid = (ACCOUNT.uid, ACCOUNT.gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    name = pwd.getpwuid(uid)
    logs = public_tmp / "logs"
    for directory in (logs, public_tmp / "logrotate.d", public_tmp / "state"):
        directory.mkdir()
        os.chown(directory, uid, gid)
    os.chown(public_tmp, uid, gid)
    of = project(account=Account(name.pw_name, uid, gid, str(gid), "/"), root=str(public_tmp), logs=str(logs))
    server = site(system=False)
    where = Site(
        **{f: getattr(server, f) for f in server.__slots__}
        | {"logrotate_dir": str(public_tmp / "logrotate.d")}
    )
    made = Place(public_tmp, of, where)
    made.log.write_bytes(b"x" * (MAX_BYTES + 1))
    os.chown(made.log, uid, gid)
    assert "su " not in made.configure()
    become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups") if os.geteuid() == 0 else ()
    made.run(*become)
    assert made.old(1).stat().st_size == MAX_BYTES + 1
