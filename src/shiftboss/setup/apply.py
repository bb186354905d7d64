"""Performs a plan: all files or none, then the daemon, and an honest word if it cannot be finished."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from shiftboss.core.errors import HostError, ShiftbossError
from shiftboss.core.plan import (
    Action,
    Conflict,
    CreateFile,
    MakeDirectory,
    Plan,
    RemoveFile,
    StartProcess,
    UpdateGroup,
    WriteFile,
)
from shiftboss.core.spec import Site
from shiftboss.host.interrupts import uninterrupted
from shiftboss.host.machine import Machine
from shiftboss.host.ports import Files, Supervisor
from shiftboss.setup.progress import Progress
from shiftboss.setup.unfinished import remember, remembered

_POLL_SECONDS = 0.1
_STOP_MARGIN_SECONDS = 15
_KEPT_MODE = 0o600

FileAction = WriteFile | RemoveFile


def perform(machine: Machine, site: Site, plan: Plan, progress: Progress) -> None:
    """Bring the machine to what the plan wants.

    Nothing is changed if something stands in the way, if a file was changed since the plan was made, or if
    a file cannot be written. If Supervisor refuses its new files, the old ones are put back.
    Raises HostError.
    """
    refuse_conflicts(plan.conflicts)
    files = [action for action in plan.actions if isinstance(action, FileAction)]
    _require_unchanged(machine.files, files)
    _require_acceptable(machine, site, files)
    with _staged(machine.files, files) as staged:
        _keep_copies(machine.files, files)
        _make_places(machine.files, plan.actions)
        _commit(machine.files, files, staged)
    crontabs = [action.path for action in files if os.path.dirname(action.path) == site.cron_dir]
    if crontabs:
        machine.cron.announce(*crontabs)
    _update_daemon(machine, site, plan.actions, files, progress)


def refuse_conflicts(conflicts: Iterable[Conflict]) -> None:
    """Raise HostError for the first conflict; its hint says what mends it, and how many others there are."""
    all_of_them = list(conflicts)
    if not all_of_them:
        return
    first = all_of_them[0]
    others = f" ({len(all_of_them) - 1} more: shiftboss plan)" if len(all_of_them) > 1 else ""
    raise HostError(f"cannot change {first.target}: {first.reason}{others}", hint=first.hint)


def _require_unchanged(files: Files, actions: Iterable[FileAction]) -> None:
    for action in actions:
        if files.read(action.path) != action.before:
            raise HostError(
                f"cannot change {action.path}: somebody else changed it just now",
                hint="Run the command again.",
            )


def _require_acceptable(machine: Machine, site: Site, actions: Iterable[FileAction]) -> None:
    """Ask the real cron about its files before it sees them."""
    for action in actions:
        if isinstance(action, WriteFile) and os.path.dirname(action.path) == site.cron_dir:
            complaint = machine.cron.accepts(action.content)
            if complaint:
                raise HostError(f"cannot write {action.path}: cron refuses it: {complaint}", hint=_REPORT)


_REPORT = "This is a fault of shiftboss: please report it with the project file."


@contextlib.contextmanager
def _staged(files: Files, actions: Iterable[FileAction]) -> Iterator[dict[str, str]]:
    """Write every new text beside its place; whatever was not committed in the end is removed."""
    staged: dict[str, str] = {}
    try:
        for action in actions:
            if isinstance(action, WriteFile):
                _make_parent(files, action.path)
                staged[action.path] = files.stage(action.path, action.content, action.mode)
        yield staged
    finally:
        for path in staged.values():
            files.remove(path)


def _make_parent(files: Files, path: str) -> None:
    """Our own directories come into being with the first file in them; those of others must exist."""
    directory = os.path.dirname(path)
    if files.stat(directory) is None and path.endswith(".toml"):
        files.make_directory(directory, 0, 0, 0o755)


def _keep_copies(files: Files, actions: Iterable[FileAction]) -> None:
    for action in actions:
        if isinstance(action, WriteFile) and action.keep_copy and action.before is not None:
            files.make_directory(os.path.dirname(action.keep_copy), 0, 0, 0o700)
            files.commit(files.stage(action.keep_copy, action.before, _KEPT_MODE), action.keep_copy)


def _make_places(files: Files, actions: Iterable[Action]) -> None:
    for action in actions:
        if isinstance(action, MakeDirectory):
            files.make_directory(action.path, action.uid, action.gid, action.mode)
        elif isinstance(action, CreateFile):
            files.create_file(action.path, action.uid, action.gid, action.mode)


def _commit(files: Files, actions: Iterable[FileAction], staged: dict[str, str]) -> None:
    """Put all files in their places, or none."""
    done: list[FileAction] = []
    with uninterrupted():
        try:
            for action in actions:
                if isinstance(action, WriteFile):
                    files.commit(staged.pop(action.path), action.path)
                else:
                    files.remove(action.path)
                done.append(action)
        except ShiftbossError:
            _put_back(files, done)
            raise


def _put_back(files: Files, done: Iterable[FileAction]) -> None:
    for action in done:
        if action.before is None:
            files.remove(action.path)
        else:
            mode = action.mode if isinstance(action, WriteFile) else _KEPT_MODE  # it may hold secrets
            files.commit(files.stage(action.path, action.before, mode), action.path)


def _update_daemon(
    machine: Machine, site: Site, actions: Iterable[Action], files: list[FileAction], progress: Progress
) -> None:
    groups = [action for action in actions if isinstance(action, UpdateGroup)]
    starts = [action for action in actions if isinstance(action, StartProcess)]
    if not groups and not starts:
        return
    supervisor = machine.supervisors.connect(site.supervisor)
    if groups:
        _reread(supervisor, groups, lambda: _put_back(machine.files, files))
    _turn_over(_Turnover(machine, supervisor, progress), machine.files, site, groups)
    for start in starts:
        supervisor.start_process(start.name)
        progress.step(f"started {start.target}")


def _turn_over(turnover: "_Turnover", files: Files, site: Site, groups: list[UpdateGroup]) -> None:
    """Replace groups one by one; what an interruption leaves undone is remembered.

    A group that Supervisor does not know yet needs no memory: the next plan sees that it is missing.
    """
    left = [group for group in groups if group.change != "add"]
    now = {group.group for group in groups}
    others = [group for group in remembered(files, site) if group.group not in now]
    if left:
        remember(files, site, [*others, *left])
    turnover.stop(groups)
    try:
        for group in groups:
            turnover.replace(group)
            if group in left:
                left.remove(group)
    finally:
        if any(group.change != "add" for group in groups):
            remember(files, site, [*others, *left])


def _reread(supervisor: Supervisor, groups: list[UpdateGroup], put_back: Callable[[], None]) -> None:
    """Let Supervisor read its files; if it cannot, or does not see ours, put the old files back."""
    try:
        with uninterrupted():
            added, changed, _ = supervisor.reread()
        known = added | changed | {process.group for process in supervisor.facts().processes}
        for group in groups:
            if group.change != "remove" and group.group not in known:
                raise HostError(
                    f"cannot set up {group.target}: Supervisor does not read its file",
                    hint="Add the directory of supervisor.conf_dir to [include] files = … in its supervisord.conf.",
                )
    except ShiftbossError:
        put_back()
        with contextlib.suppress(ShiftbossError):
            supervisor.reread()
        raise


@dataclass
class _Turnover:
    """Replaces groups in a running Supervisor: stops what ends, all at once, and waits before it goes on."""

    machine: Machine
    supervisor: Supervisor
    progress: Progress
    _deadlines: dict[str, float] = field(default_factory=dict)

    def stop(self, groups: Iterable[UpdateGroup]) -> None:
        """Ask all groups that change or go to stop; their programs get their full stop wait, side by side."""
        known = {process.group for process in self.supervisor.facts().processes}
        for group in groups:
            if group.change != "add" and group.group in known:
                self.supervisor.stop_group(group.group)
                wait = group.stop_wait_seconds + _STOP_MARGIN_SECONDS
                self._deadlines[group.group] = self.machine.clock.monotonic() + wait

    def replace(self, group: UpdateGroup) -> None:
        """Wait for the end of the old processes, then take over what the files now say."""
        if group.group in self._deadlines:
            self._wait_until_stopped(group)
            self.supervisor.remove_group(group.group)
            self.progress.step(f"stopped {group.target}")
        if group.change != "remove":
            self.supervisor.add_group(group.group)

    def _wait_until_stopped(self, group: UpdateGroup) -> None:
        while alive := self._alive(group.group):
            if self.machine.clock.monotonic() > self._deadlines[group.group]:
                raise HostError(
                    f"cannot stop {group.target}: {', '.join(alive)} did not end in {group.stop_wait_seconds} s",
                    hint="See what it does (ps, strace), end it, then run: shiftboss apply",
                )
            self.progress.waiting(
                f"waiting for {group.target} to finish its work (up to {group.stop_wait_seconds} s)"
            )
            self.machine.clock.sleep(_POLL_SECONDS)

    def _alive(self, group: str) -> list[str]:
        return [p.name for p in self.supervisor.facts().processes if p.group == group and p.pid]
