"""Starting a command of root as cron starts a line of its own: nothing of the terminal we sit at reaches it."""

import contextlib
import os
import pwd
import resource
import subprocess
from collections.abc import Callable, Mapping

from shiftboss.core.facts import Finished
from shiftboss.host.files import refused

_UMASK = 0o022  # of a daemon
_LIMITS = (
    *("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC"),
    *("RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
)


class CronStart:
    """A command that was started so. It has a session of its own, and lives on when we end."""

    def __init__(self, argv: tuple[str, ...], daemon: int | None) -> None:
        """Start it, with the priority and rlimits of the daemon where one runs; raises HostError."""
        root = pwd.getpwuid(0)
        try:
            self._process = subprocess.Popen(
                argv,
                cwd=root.pw_dir if os.path.isdir(root.pw_dir) else "/",
                env=_environment(root),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                umask=_UMASK,
                preexec_fn=_taking_after(daemon),
            )
        except OSError as error:
            raise refused("start", argv[0], error) from error

    def line(self) -> str:
        """Wait for the next line that it prints and return it without its end, "" if there will be none."""
        assert self._process.stdout
        return self._process.stdout.readline().decode(errors="replace").rstrip("\n")

    def ended(self, seconds: float) -> Finished | None:
        """Return how it ended, and the outputs that nobody has read; None if it still runs after so many seconds."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        assert self._process.stdout
        assert self._process.stderr
        with self._process.stdout as out, self._process.stderr as err:
            texts = [stream.read().decode(errors="replace") for stream in (out, err)]
        return Finished(128 - status if status < 0 else status, *texts)


def _environment(root: pwd.struct_passwd) -> Mapping[str, str]:
    """Return what cron sets (crontab(5)); what our own caller had set stays outside."""
    return {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", "HOME": root.pw_dir, "LOGNAME": root.pw_name}


def _taking_after(daemon: int | None) -> Callable[[], None] | None:
    """Return what gives a child the priority and rlimits of a daemon: those of a login may be others."""
    if daemon is None:
        return None
    numbers = [getattr(resource, f"RLIMIT_{name}") for name in _LIMITS]
    try:
        limits = {number: resource.prlimit(daemon, number) for number in numbers}
        priority = os.getpriority(os.PRIO_PROCESS, daemon)
    except OSError:  # it has just ended
        return None

    def take_after() -> None:
        for number, pair in limits.items():
            with contextlib.suppress(OSError, ValueError):  # root of a container may not raise every limit
                resource.setrlimit(number, pair)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, priority)

    return take_after
