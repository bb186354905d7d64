"""The way from root to the program: cgroup, rlimits, isolation, user, directory, environment, exec."""

import errno
import os
from collections.abc import Callable

from shiftboss.confine import limits
from shiftboss.confine.steps import StepError, drop_to, explain, find_command, restore_signals, set_rlimits
from shiftboss.launcher.order import Address, Order

# all but KILL and STOP, and two that glibc keeps to itself
_SIGNALS = tuple(number for number in range(1, 65) if number not in (9, 19, 32, 33))
_ATTEMPTS = 5


def become(order: Order, address: Address) -> None:
    """Replace this process by the program of an order. Returns never; raises StepError.

    What the machine does not allow is told on stderr, one line each.
    """
    step, command = "signals", order.argv[0]
    try:
        restore_signals(_SIGNALS)  # some are Python's, and who started us may have ignored others
        _leave_terminal()
        step = "cgroup"
        notes: list[str] = []
        group = _enter_group(order, address, notes)
        notes += _limit(order, group)
        step = "isolation"
        notes += _isolate(order)
        variables_of = _reader_of_variables(order)
        os.umask(order.umask)
        drop_to(order.user, order.uid, order.gid, order.groups)
        step = "directory"
        os.chdir(order.directory)
        step = "env_file"
        environment = variables_of()
        step = "command"
        if "/" not in command:
            command = find_command(command, environment["PATH"])
        _tell(address, notes)
        os.closerange(3, 1 << 20)
        step = "exec"
        os.execve(command, order.argv, environment)  # noqa: S606 -- no shell is meant
    except OSError as error:
        about = {"directory": order.directory, "env_file": order.env_file, "command": command}
        raise explain(step, error, order.user, about | {"cgroup": f"a cgroup of {address.text}"}) from None


def _leave_terminal() -> None:
    """Have no controlling terminal: who has root's can type into it (TIOCSTI, before Linux 6.2), as under `supervisord -n`."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # the usual: there is none
        return
    import fcntl
    import termios

    try:
        if os.getsid(0) != os.getpid():  # whose leader we are is nobody else's, and to leave it would end us
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
    finally:
        os.close(terminal)


def _enter_group(order: Order, address: Address, notes: list[str]) -> limits.Group:
    """Join the cgroup of this process, made new; nothing of its last run lives in it any more.

    `notes` gets what the old one tells of that run.
    """
    tree = limits.open_tree(limits.LAUNCHER_TREE) if os.geteuid() == 0 else None
    slot = f"{address.unit}.{address.process}" if address.process else f"{address.unit}.run{os.getpid()}"
    if tree:
        notes += _clear(tree, order, address, slot)
    group = limits.prepare(tree, address.project, slot, order.own, order.budget)
    for _ in range(_ATTEMPTS):
        try:
            limits.join(group.directories)
        except FileNotFoundError:  # another start of this project has cleared it away while it was empty
            group = limits.prepare(tree, address.project, slot, order.own, order.budget)
        else:
            return group
    raise StepError("cgroup", errno.ENOENT, f"cannot join {group.name}: it is taken away again and again")


def _clear(tree: limits.LimitTree, order: Order, address: Address, slot: str) -> list[str]:
    """Remove the cgroup of the last run of a process, and of all runs without a number that have ended.

    Returns what is to be told of the last run: Supervisor says of a program that the kernel killed only that it died.
    """
    directories = tree.directories(f"{address.project}/{slot}")
    notes = [f"its last run: {words}" for words in limits.kills(directories)]
    if not limits.remove(directories):
        from shiftboss.launcher.leftovers import end_all

        end_all(directories, order.stop_signal, address.text)
    if not address.process:
        for directory in tree.directories(address.project):
            _remove_ended(directory, f"{address.unit}.run")
    return notes


def _remove_ended(directory: str, start: str) -> None:
    try:
        names = os.listdir(directory)
    except OSError:
        return
    limits.remove([f"{directory}/{name}" for name in names if name.startswith(start)])


def _limit(order: Order, group: limits.Group) -> list[str]:
    """Set priority and rlimits, also those that stand for a cgroup that this machine lacks; return notes."""
    notes = list(group.notes)
    wanted = dict(order.rlimits)
    for fallback in order.fallbacks:
        if fallback.controller in group.missing:
            wanted |= fallback.rlimits
            notes.append(fallback.words)
    notes += [os.fsdecode(note) for note in set_rlimits(wanted)]
    if order.nice:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, order.nice)
        except PermissionError:
            notes.append(f"its priority stays as it is: only root can set nice to {order.nice}")
    return notes


def _isolate(order: Order) -> list[str]:
    if not order.steps:
        return []
    from shiftboss.confine.isolation import isolate  # with ctypes, 3 ms

    return isolate(order.steps)


def _reader_of_variables(order: Order) -> Callable[[], dict[str, str]]:
    """Return what makes the program's variables, nothing of whoever started us; to be called as the project's user.

    Everything that it needs is imported already: as that user our own files may be out of reach.
    """
    account = {
        "HOME": order.home,
        "USER": order.user,
        "LOGNAME": order.user,
        "SHELL": order.shell,
        "PATH": order.path,
        "LANG": order.lang,
    }
    if not order.env_file:
        return lambda: account | order.environment
    from shiftboss.confine import env_file  # with re, 5 ms

    return lambda: account | env_file.read(order.env_file) | order.environment


def _tell(address: Address, notes: list[str]) -> None:
    try:
        for note in notes:
            os.write(2, f"shiftboss-exec: {address.text}: note: {note}\n".encode(errors="replace"))
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EPIPE, errno.ENOSPC, errno.EAGAIN, errno.EIO):
            raise StepError("internal", error.errno or 0, "cannot write to stderr") from None
