"""The cron daemon of this server, and what its init starts at boot. Looks, and changes nothing of theirs.

Paths are below `root`, so that tests can show other machines.
"""

import glob
import os
import re
import stat
import time
from collections.abc import Iterator

from shiftboss.core.facts import Finished
from shiftboss.host.commands import NOT_FOUND, TIMED_OUT, RealCommands
from shiftboss.host.files import refused
from shiftboss.host.ports import Started

_DAEMONS = frozenset({"cron", "crond"})
_READS = "etc/cron.d"  # compiled into cron and cronie; where another directory is mounted there, that one
_SPOOLS = ("var/spool/cron/crontabs", "var/spool/cron")  # Debian's, cronie's
_LIMIT = 256 * 1024
_COARSE_CLOCK_SECONDS = 0.02
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BEFORE_USER = re.compile(
    r"^([ \t]*(?:@[a-z]+|[^\s#=]+(?:[ \t]+[^\s=]+){4})[ \t]+)[^\s=]+[ \t]+(?=\S)", re.ASCII
)
_COMPLAINT = re.compile(r'"[^"\n]*":(\d+): ')
_UNIT_PLACES = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_RUN_LEVELS = ("etc/rc[2345].d/S[0-9][0-9]{}", "etc/runlevels/*/{}")  # System V, OpenRC


class RealCronDaemon:
    """The `CronDaemon` port on this machine."""

    def __init__(self, root: str = "/") -> None:
        self._root = root

    def reader(self, cron_dir: str) -> int | None:
        """Return the pid of a running cron daemon that reads `cron_dir`, None if there is none.

        It is the directory that the daemon sees, in its own mount namespace, that counts. Only processes of
        root do: anybody can call a process cron.
        """
        wanted = _identity(cron_dir)
        found = {
            pid: parent
            for pid, parent in _root_processes(os.path.join(self._root, "proc"))
            if wanted is not None
            and _identity(os.path.join(self._root, f"proc/{pid}/root", _READS)) == wanted
        }
        # until it calls itself otherwise, a new child looks like the daemon
        return next((pid for pid, parent in sorted(found.items()) if parent not in found), None)

    def accepts(self, text: str) -> str | None:
        """Return what cron's own checker complains about in a file with a user field.

        None if there is nothing, or no checker: `crontab -n` is in Debian's cron since 3.0pl1-160; cronie's is
        `-T` (its -n does something else).
        """
        import tempfile  # slow, and needed only before a crontab is written

        checker = _checker()
        if not checker:
            return None
        try:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", prefix="shiftboss-") as file:
                file.write(without_user_field(text))
                file.flush()
                return _complaint(RealCommands().run((*checker, file.name)))
        except OSError as error:
            raise refused("write a temporary file in", tempfile.gettempdir(), error) from error

    def announce(self, *paths: str) -> None:
        """Make sure that a running daemon sees files in its directory that were just written or removed.

        Takes up to a second. Cron looks once a minute and compares modification times of the directory and of
        files in whole seconds: of two changes in one second, with its look between them, it never sees the
        second one (seen on Debian's 3.0pl1-162), and a new job would not start, or a removed one not end.
        """
        # file times come from the wall clock, from a coarse one that may be some milliseconds behind
        time.sleep(1 - time.time() % 1 + _COARSE_CLOCK_SECONDS)
        for touched in (*paths, *dict.fromkeys(os.path.dirname(path) for path in paths)):
            try:
                os.utime(touched, follow_symlinks=False)
            except FileNotFoundError:
                continue  # the file was removed
            except OSError as error:
                raise refused("touch", touched, error) from error

    def start(self, argv: tuple[str, ...], cron_dir: str) -> Started:
        """Start a command of root as a line in `cron_dir` would be; raises HostError."""
        from shiftboss.host.cron_start import CronStart

        return CronStart(argv, self.reader(cron_dir))

    def other_crontabs(self, own_path: str) -> dict[str, str]:
        """Return path and text of every crontab of this machine but our own file, as far as we may read them.

        Bytes that are no UTF-8 are replaced, the text is cut at 256 KiB.
        """
        directories = (os.path.dirname(own_path), os.path.join(self._root, _READS))
        paths = [os.path.join(self._root, "etc/crontab")]
        paths += [p for d in dict.fromkeys(directories) for p in _listed(d) if "." not in os.path.basename(p)]
        paths += [path for spool in _SPOOLS for path in _listed(os.path.join(self._root, spool))]
        texts = ((path, _text(path)) for path in paths if path != own_path)
        return {path: text for path, text in texts if text is not None}


class RealBoot:
    """The `Boot` port on this machine."""

    def __init__(self, root: str = "/") -> None:
        self._root = root

    def starts(self, services: tuple[str, ...]) -> bool | None:
        """Tell whether one of these services starts at boot; None where we do not know the init (containers)."""
        if os.path.isdir(os.path.join(self._root, "run/systemd/system")):
            return any(self._systemd_starts(service) for service in services)
        if _first_line(os.path.join(self._root, "proc/1/comm")) in {"init", "openrc-init", "runit-init"}:
            return any(self._is_in_run_level(service) for service in services)
        return None

    def _systemd_starts(self, service: str) -> bool:
        """Look for the link that `systemctl enable` makes; a script without a unit counts by its run levels."""
        places = [os.path.join(self._root, place) for place in _UNIT_PLACES]
        units = [unit for place in places if os.path.lexists(unit := f"{place}/{service}.service")]
        if not units:
            return self._is_in_run_level(service)
        if os.path.islink(units[0]) and os.readlink(units[0]) == "/dev/null":
            return False  # masked
        return any(
            _has(place, f"*.{kind}/{service}.service") for place in places for kind in ("wants", "requires")
        )

    def _is_in_run_level(self, service: str) -> bool:
        return any(_has(self._root, pattern.format(service)) for pattern in _RUN_LEVELS)


def without_user_field(text: str) -> str:
    """Return a crontab of cron.d as a user's crontab: the sixth field of jobs is gone, all else is as it was."""
    return "\n".join(_BEFORE_USER.sub(r"\1", line, count=1) for line in text.split("\n"))


def _root_processes(proc: str) -> Iterator[tuple[int, int]]:
    """Yield pid and parent of the processes of root that are called like a cron daemon."""
    for entry in _listed(proc):
        number = os.path.basename(entry)
        if not number.isdigit() or _first_line(f"{entry}/comm") not in _DAEMONS:
            continue
        # the child that looks after a job outlives the daemon; it calls itself CRON (do_command.c), a zombie nothing
        program = (_text(f"{entry}/cmdline") or "").partition("\0")[0]
        if os.path.basename(program) not in _DAEMONS:
            continue
        lines = (_text(f"{entry}/status") or "").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if fields.get("Uid", "").split()[:1] == ["0"]:
            yield int(number), int(fields.get("PPid", "0"))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino)


def _checker() -> tuple[str, ...]:
    """Return the command that checks a crontab file, as the program's own usage names it; empty if none does."""
    usage = RealCommands().run(("crontab", "-h"))
    text = usage.stdout + usage.stderr
    if "dry run" in text:
        return ("crontab", "-n")
    return ("crontab", "-T") if "test a crontab file syntax" in text else ()


def _complaint(finished: Finished) -> str | None:
    """Return the first complaint about the text; not being allowed to ask is none."""
    if finished.status in {0, NOT_FOUND, TIMED_OUT} or "not allowed" in finished.stderr:
        return None
    lines = (finished.stderr or finished.stdout).strip().splitlines()
    return _COMPLAINT.sub(r"line \1: ", lines[0]) if lines else f"crontab ended with status {finished.status}"


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.path.join(directory, name) for name in os.listdir(directory))
    except OSError:
        return []


def _has(place: str, pattern: str) -> bool:
    return next(glob.iglob(pattern, root_dir=place), None) is not None


def _first_line(path: str) -> str:
    return (_text(path) or "").partition("\n")[0]


def _text(path: str) -> str | None:
    """Return the beginning of a regular file, None if there is none that we may read; links are not followed."""
    try:
        descriptor = os.open(path, _OPEN)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return file.read(_LIMIT).decode(errors="replace")
    except OSError:
        return None
