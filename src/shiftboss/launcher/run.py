"""One run of a schedule on cron: the lock, the log, the time limit, and what became of it.

cron, or `shiftboss run`, starts us as root. The program is our child; what it is and as whom it runs is said by root's orders, and it becomes
that by `become`. We stay until it has ended, and hold nothing that it could reach.
"""

import _signal as signal  # type: ignore[import-not-found]  # C: `signal` makes enums of it, in 5 ms
import os
import select
import time

from shiftboss.confine import limits
from shiftboss.confine.steps import StepError
from shiftboss.launcher.become import become
from shiftboss.launcher.log_file import open_log
from shiftboss.launcher.occasion import Occasion, now, shown
from shiftboss.launcher.order import Address, Order
from shiftboss.launcher.spool import Lock, Row, Spool

_MOST_OUTPUT = 8192
_MOST_LOOKED_AT = 256 * 1024  # for what tells of tasks that have failed
_REPLACE_MARGIN_SECONDS = 5.0
_LOOK_AGAIN_MILLISECONDS = 100.0
_MOST_MILLISECONDS = 86_400_000.0  # poll(2) takes an int of them, which ends after 24 days
_TIMED_OUT, _REPLACED, _STOPPED = "timed_out", "replaced", "stopped"
REPLACE = signal.SIGUSR1


class _SkippedError(Exception):
    """The occurrence does not run; the text is the reason."""


def run(order: Order, address: Address, directory: str, occasion: Occasion) -> None:
    """Run a schedule once and write down what became of it.

    Raises OSError if that cannot be written down (what has its lock runs all the same), OrderError if it cannot be told
    whether the schedule is paused.
    """
    spool = Spool(directory, address.project, address.unit)
    try:
        lock = _admitted(spool, order, occasion)
    except _SkippedError as reason:
        number = spool.add(occasion.row | {"outcome": "skipped", "reason": str(reason)})
        occasion.tell(f"run {number}")
        return
    try:
        _Run(order, address, spool, lock, occasion).to_its_end()
    finally:
        if lock:
            lock.release()


def note_failure(directory: str, address: Address, occasion: Occasion, reason: str) -> None:
    """Write down that an occurrence could not even be tried."""
    row: Row = {"outcome": "failed", "reason": reason}
    Spool(directory, address.project, address.unit).add(occasion.row | row)


def _admitted(spool: Spool, order: Order, occasion: Occasion) -> "Lock | None":
    """Return the lock, held, once no earlier run lives; raise _SkippedError if this occurrence is not to run."""
    _refuse_paused(occasion)
    lock = _locked(spool, order, occasion) if order.overlap != "allow" else None
    try:
        _refuse_paused(occasion)  # it may have waited for long
    except BaseException:
        if lock:
            lock.release()
        raise
    return lock


def _refuse_paused(occasion: Occasion) -> None:
    if who := occasion.paused_by():
        raise _SkippedError(f"paused by {who}")


def _locked(spool: Spool, order: Order, occasion: Occasion) -> Lock:
    lock = spool.lock()
    if order.overlap == "queue":
        waiting = spool.lock("waiting")
        if not waiting.take():
            raise _SkippedError("overlap: one occurrence waits already")
        occasion.tell("waits")
        _wait_for(lock, -1.0)
        waiting.release()
        return lock
    if order.overlap == "replace":
        occasion.tell("waits")
        _end_holder(lock.read())
    wait = order.stop_seconds + _REPLACE_MARGIN_SECONDS if order.overlap == "replace" else 0.0
    if not _wait_for(lock, wait):
        run = (lock.read() or [0])[0]
        lock.release()
        raise _SkippedError(f"overlap: run {run} of an earlier occurrence has not ended")
    return lock


def _wait_for(lock: Lock, seconds: float) -> bool:
    """Take the lock, and wait until the program of its last holder has ended too, should that have outlived it."""
    end = time.monotonic() + seconds
    if not lock.take(seconds):
        return False
    while _program_lives(lock.read()):
        if seconds >= 0 and time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True


def _program_lives(told: "list[int]") -> bool:
    """Tell whether the program of a holder lives. `told`: run, pid and start of its launcher, those of the program."""
    return len(told) == 5 and started(told[3]) == told[4] > 0


def _end_holder(told: "list[int]") -> None:
    """Ask for the end of an earlier run: its launcher sees to it; without that one the program itself."""
    if len(told) == 5 and started(told[1]) == told[2]:
        _signal(told[1], REPLACE, group=False)
    elif _program_lives(told):
        _signal(told[3], signal.SIGTERM)


def started(pid: int) -> int:
    """Return when a living process started, in the kernel's ticks since boot; 0 if none of that number lives."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = (file.read(4096) or b"").rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError):
        return 0


class _Run:
    """One run of a schedule."""

    def __init__(
        self, order: Order, address: Address, spool: Spool, lock: "Lock | None", occasion: Occasion
    ) -> None:
        self._order, self._address, self._spool, self._lock = order, address, spool, lock
        self._occasion, self._began, self._since = occasion, now(), time.monotonic()
        self._ending = ""
        self._kills: Row = {}
        self._wake, self._woken = os.pipe()
        self._log, self._trouble = open_log(order)
        self._start = self._size()
        self._run = 0
        self._row: Row = {}

    def to_its_end(self) -> None:
        """Start the program, see it end, and tell both."""
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._woken)
        for number in (REPLACE, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)  # it only wakes us
        row: Row = {"began": self._began, "pid": os.getpid(), "since": started(os.getpid()), "boot": _boot()}
        self._row = self._occasion.row | row
        self._run = self._noted()
        self._occasion.tell(f"run {self._run}")
        self._say(f"began {shown(self._began)}, {self._occasion.words}")
        self._start = self._size()
        pid = self._fork()
        if self._lock:
            self._tell_holder(self._lock, pid)
        self._await(pid)
        self._clear_away(pid)
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if self._lock:
            self._lock.write(())
        self._tell_end(code, usage.ru_maxrss * 1024)

    def _noted(self) -> int:
        """Write the start down and return the number of the run; 0 where the disk has no room: it runs all the same."""
        try:
            return self._spool.add(self._row)
        except OSError:
            return 0

    def _tell_holder(self, lock: Lock, pid: int) -> None:
        try:
            lock.write((self._run, os.getpid(), started(os.getpid()), pid, started(pid)))
        except OSError:  # no room: it is held all the same
            return

    def _fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                self._become_program()
            finally:
                os._exit(125)
        return pid

    def _become_program(self) -> None:
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(self._log, 1)
        os.dup2(self._log, 2)
        signal.set_wakeup_fd(-1)
        try:
            become(self._order, self._address)
        except StepError as failed:
            from shiftboss.launcher.main import status_of

            os.write(2, f"shiftboss-exec: {failed} (step {failed.step})\n".encode(errors="replace"))
            os._exit(status_of(failed))

    # ---- the wait

    def _await(self, pid: int) -> None:
        """Return when the program has ended, by itself or because its time was up or its end was asked for."""
        limit = self._order.timeout_seconds
        until = self._since + limit if limit else None
        while not self._ended(pid, None if until is None else until - time.monotonic()):
            if not self._ending and until is not None and time.monotonic() >= until:
                self._ending = _TIMED_OUT
            if self._ending:
                self._end(pid)
                return

    def _end(self, pid: int) -> None:
        _signal(pid, getattr(signal, f"SIG{self._order.stop_signal}", signal.SIGTERM))
        end = time.monotonic() + self._order.stop_seconds
        while not self._ended(pid, end - time.monotonic()):
            if time.monotonic() >= end:
                _signal(pid, signal.SIGKILL)
                end = time.monotonic() + 1.0

    def _ended(self, pid: int, seconds: "float | None") -> bool:
        """Wait for the end of the program; False after so many seconds, or when its end is asked for."""
        waited = select.poll()
        waited.register(self._wake, select.POLLIN)
        descriptor = _handle(pid)
        try:
            if descriptor >= 0:
                waited.register(descriptor, select.POLLIN)
            waited.poll(_step(seconds, watched=descriptor >= 0))
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        self._hear()
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _hear(self) -> None:
        """Take note of a signal to us: whose it is says why the run is to end."""
        try:
            numbers = os.read(self._wake, 100)
        except BlockingIOError:
            return
        self._ending = self._ending or (_REPLACED if REPLACE in numbers else _STOPPED)

    def _clear_away(self, pid: int) -> None:
        """Remove the cgroup of the run; what it has left behind ends only if the run was ended by us.

        Whether memory ran out in it is read before: its counters go with it.
        """
        slot = f"{self._address.unit}.run{pid}"
        directories = limits.find(f"{limits.LAUNCHER_TREE}/{self._address.project}/{slot}", os.getpid())
        self._kills = _kills(directories)
        if not directories and self._ending:
            _signal(pid, signal.SIGKILL)  # not reaped yet: the number of its group is nobody else's
        if not directories or limits.remove(directories) or not self._ending:
            return
        from shiftboss.launcher.leftovers import end_all

        try:
            end_all(directories, self._order.stop_signal, self._address.text)
        except StepError as failed:
            self._trouble = str(failed)

    # ---- what is told

    def _tell_end(self, code: int, memory: int) -> None:
        ended, seconds = now(), time.monotonic() - self._since
        row: Row = {"ended": ended, "seconds": seconds, "code": code, "memory": memory}
        row |= self._kills
        if self._ending:
            row["ending"] = self._ending
            row["reason"] = self._why()
        if self._trouble:
            row["trouble"] = self._trouble
        if code or self._order.keeps_output:
            row["output"] = self._output()
        words = f"exit {code}" if code >= 0 else f"ended by signal {-code}"
        words = f"{self._ending.replace('_', ' ')}, {words}" if self._ending else words
        self._say(f"ended {shown(ended)}: {words} after {seconds:.2f} s")
        run = self._run or self._spool.add(self._row)  # there may be room by now
        self._spool.add({"run": run} | row)

    def _why(self) -> str:
        if self._ending == _TIMED_OUT:
            return f"it ran longer than {self._order.timeout_seconds} s"
        by = "replaced by a later occurrence"
        return by if self._ending == _REPLACED else "its launcher was asked to end"

    def _output(self) -> str:
        """Return the end of what the run has written, as far as it is still there."""
        size, most = self._size(), _MOST_LOOKED_AT if self._order.keeps_output else _MOST_OUTPUT
        start = max(min(self._start, size), size - most)
        text = os.pread(self._log, size - start, start)
        if len(text) <= _MOST_OUTPUT:
            return text.decode(errors="replace")
        cut = text.find(b"\n", len(text) - _MOST_OUTPUT) + 1
        return (_failures(text[:cut]) + text[cut:][-_MOST_OUTPUT:]).decode(errors="replace")

    def _size(self) -> int:
        return os.fstat(self._log).st_size

    def _say(self, words: str) -> None:
        """Write a line of ours into the log, after whatever half line the program has left there."""
        line = f"--- run {self._run} of {self._address.entry} {words} ---\n"
        try:
            size = self._size()
            broken = size > self._start and os.pread(self._log, 1, size - 1) not in (b"\n", b"")
            os.write(self._log, (f"\n{line}" if broken else line).encode())
        except OSError:
            self._trouble = self._trouble or "the log could not be written"


def _failures(text: bytes) -> bytes:
    """Return the lines in which Laravel's scheduler tells that a task has failed (core/laravel_run.py), and of which."""
    found: list[bytes] = []
    begun = b""
    for line in text.splitlines(keepends=True):
        if b"Running [" in line:
            begun = line
        if b"FAIL" in line or b"failed with exit code" in line:
            found += [line] if begun in (b"", line) else [begun, line]
            begun = b""
    return b"".join(found)[-_MOST_OUTPUT:]


def _kills(directories: "list[str]") -> Row:
    """Return how the kernel killed in a cgroup for want of memory, nothing if it did not."""
    if not limits.kills(directories):
        return {}
    from shiftboss.confine.usage import read_killed  # with typing, 8 ms

    killed = read_killed(directories)
    row: Row = {"kills": killed.times, "own_limit": int(killed.own_limit)}
    bounds = (("limit", killed.limit_bytes), ("peak", killed.peak_bytes))
    return row | {name: value for name, value in bounds if value is not None}


def _handle(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # Linux before 5.3
        return -1


def _step(seconds: "float | None", *, watched: bool) -> "float | None":
    """Return how many milliseconds to wait at once; without a handle the end of the program wakes nobody."""
    if seconds is None:
        return None if watched else _LOOK_AGAIN_MILLISECONDS
    left = min(max(0.0, seconds) * 1000, _MOST_MILLISECONDS)
    return left if watched else min(left, _LOOK_AGAIN_MILLISECONDS)


def _signal(pid: int, number: int, *, group: bool = True) -> None:
    """Signal a process, or the group of the program: it leads one of its own from the start."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:  # it has not come to that yet, or is gone
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
            return (file.read(64) or b"").decode().strip()
    except OSError:
        return ""
