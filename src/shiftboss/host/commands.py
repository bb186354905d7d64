"""Other programs, run to the end with a deadline and a bound on what they may print."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shiftboss.core.facts import Finished
from shiftboss.core.spec import DEFAULT_PATH, Account
from shiftboss.host.accounts import acting_as, groups_of

if TYPE_CHECKING:
    import subprocess  # in the functions: most commands of ours only `find` programs

NOT_FOUND, TIMED_OUT = 127, 124  # as sh(1) and timeout(1) report them
_MAX_OUTPUT = 1024 * 1024
_GRACE_SECONDS = 0.2


class RealCommands:
    """The `Commands` port on this machine."""

    def run(
        self,
        argv: tuple[str, ...],
        *,
        account: Account | None = None,
        directory: str = "/",
        timeout: float = 10,
    ) -> Finished:
        import subprocess

        try:
            process = _started(argv, account, directory)
        except subprocess.SubprocessError:  # its user has as many keys as it may: on purpose perhaps
            return Finished(NOT_FOUND, stderr=f"{argv[0]}: it cannot have a session keyring of its own")
        except OSError as error:
            what = error.filename or argv[0]  # the program, or the directory that it should start in
            return Finished(NOT_FOUND, stderr=f"{what}: {(error.strerror or str(error)).lower()}")
        try:
            stdout, stderr, in_time = _outputs(process, time.monotonic() + timeout)
        finally:
            _end_group(process)
        status = process.wait()
        if not in_time:
            return Finished(TIMED_OUT, stdout, stderr)
        return Finished(128 - status if status < 0 else status, stdout, stderr)

    def find(self, name: str, path: str, account: Account) -> str | None:
        with acting_as(account):
            for directory in filter(os.path.isabs, path.split(":")):
                candidate = os.path.join(directory, name)
                if os.path.isfile(candidate) and os.access(candidate, os.X_OK, effective_ids=True):
                    return candidate
        return None


def _started(argv: tuple[str, ...], account: Account | None, directory: str) -> "subprocess.Popen[bytes]":
    import subprocess

    environment = {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8"}
    identity: dict[str, object] = {}
    if account is not None:
        environment |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
        if os.geteuid() == 0:
            identity = {"user": account.uid, "group": account.gid, "extra_groups": groups_of(account)}
            identity["preexec_fn"] = _leaving_our_keys()
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # ids only where we are root
        argv,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **identity,
    )


def _leaving_our_keys() -> Callable[[], None]:
    """Return what leaves root's session keyring, in the child: each process in it can use its keys, whatever its user."""
    # here, where our own files are in reach; with ctypes, 3 ms
    from shiftboss.confine.mounts import leave_session_keyring

    def leave() -> None:
        try:
            leave_session_keyring()
        except OSError as error:  # refused to the program as well, or an architecture that we do not know
            if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EINVAL):
                raise

    return leave


def _outputs(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[str, str, bool]:
    """Read both outputs until end-of-file, the deadline or too much; return them and whether it was in time."""
    import selectors

    assert process.stdout is not None
    assert process.stderr is not None
    collected = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in collected:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 1 << 16)
                buffer = collected[key.fileobj]  # type: ignore[index]  # we registered these two streams
                buffer += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
                if len(buffer) > _MAX_OUTPUT:
                    return *_texts(collected.values()), True
        in_time = not selector.get_map()
    return *_texts(collected.values()), in_time


def _texts(buffers: Iterable[bytearray]) -> tuple[str, str]:
    stdout, stderr = (bytes(buffer[:_MAX_OUTPUT]).decode(errors="replace") for buffer in buffers)
    return stdout, stderr


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End what is left of the program: it may have started others, or be over its time."""
    import signal

    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    deadline = time.monotonic() + _GRACE_SECONDS  # it closed its outputs and is about to end by itself
    while not _has_ended(process.pid) and time.monotonic() < deadline:
        time.sleep(_GRACE_SECONDS / 20)
    with contextlib.suppress(PermissionError):  # set-user-ID programs, where we are not root
        os.killpg(process.pid, signal.SIGKILL)  # nobody waited for it yet, so its number is still its own


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
