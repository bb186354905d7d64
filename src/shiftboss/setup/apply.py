"""Performs a plan: all files or none, then the daemon, and an honest word if it cannot be finished."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from shiftboss.backends.supervisor_live import number_of
from shiftboss.core.errors import HostError, ShiftbossError
from shiftboss.core.plan import (
    Action,
    ChangeOwner,
    Conflict,
    CreateFile,
    CreateUser,
    FurnishDirectory,
    MakeDirectory,
    Plan,
    ReloadEngine,
    StartProcess,
    UpdateGroup,
    WriteFile,
)
from shiftboss.core.spec import Account, Site
from shiftboss.host.machine import Machine
from shiftboss.host.ports import Engine, Supervisor
from shiftboss.setup.control import tell_ended
from shiftboss.setup.file_changes import FileAction, FileChanges, require_unchanged, staged
from shiftboss.setup.live import START_HINT
from shiftboss.setup.progress import Progress
from shiftboss.setup.unfinished import begun, finished

_POLL_SECONDS = 0.1
_STOP_MARGIN_SECONDS = 15


def perform(machine: Machine, site: Site, plan: Plan, progress: Progress) -> None:
    """Bring the machine to what the plan wants.

    Nothing is changed if something stands in the way, if a file was changed since the plan was made, or if
    a file cannot be written. If Supervisor refuses its new files, the old ones are put back.
    Raises HostError.
    """
    refuse_conflicts(plan.conflicts)
    groups = [action for action in plan.actions if isinstance(action, UpdateGroup)]
    files = [action for action in plan.actions if isinstance(action, FileAction)]
    require_unchanged(machine.files, files)
    _require_acceptable(machine, site, files)
    _require_engine(machine, site, plan.actions)
    with staged(machine.files, site, [*begun(machine.files, site, groups), *files]) as changes:
        _make_places(machine, plan.actions)
        changes.commit()
        crontabs = [action.path for action in files if _is_crontab(site, action)]
        try:
            if groups:
                _reread(machine, site, groups, changes)
        finally:
            if crontabs:  # also after they were put back: cron may have seen them in between
                machine.cron.announce(*crontabs)
    # what ends at Supervisor may start at the engine, and the other way round: never two copies of a unit
    _turn_over(machine, site, [group for group in groups if group.change == "remove"], progress)
    _reload(machine, site, plan.actions, progress)
    _turn_over(machine, site, [group for group in groups if group.change != "remove"], progress)
    _start(machine, site, plan.actions, progress)


def refuse_conflicts(conflicts: Iterable[Conflict]) -> None:
    """Raise HostError for the first conflict; its hint says what mends it, and how many others there are."""
    all_of_them = list(conflicts)
    if not all_of_them:
        return
    first = all_of_them[0]
    others = f" ({len(all_of_them) - 1} more: shiftboss plan)" if len(all_of_them) > 1 else ""
    raise HostError(f"cannot change {first.target}: {first.reason}{others}", hint=first.hint)


def _require_acceptable(machine: Machine, site: Site, actions: Iterable[FileAction]) -> None:
    """Ask the real cron about its files before it sees them."""
    for action in actions:
        if isinstance(action, WriteFile) and _is_crontab(site, action):
            complaint = machine.cron.accepts(action.content)
            if complaint:
                raise HostError(f"cannot write {action.path}: cron refuses it: {complaint}", hint=_REPORT)


def _require_engine(machine: Machine, site: Site, actions: Iterable[Action]) -> None:
    """Refuse to end at Supervisor what should go on at an engine that does not run."""
    ending = {a.target for a in actions if isinstance(a, UpdateGroup) and a.change == "remove" and a.restarts}
    starting = {start for a in actions if isinstance(a, ReloadEngine) for start in a.starts}
    moving = sorted(ending & starting)
    if moving and machine.engines.connect(site.api_socket).facts() is None:
        raise HostError(
            f"cannot move {', '.join(moving)}: shiftboss is not running: nobody answers at {site.api_socket}",
            hint=START_HINT,
        )


_REPORT = "This is a fault of shiftboss: please report it with the project file."


def _is_crontab(site: Site, action: FileAction) -> bool:
    return os.path.dirname(action.path) == site.cron_dir


def _make_places(machine: Machine, actions: Iterable[Action]) -> None:
    files = machine.files
    for action in actions:
        if isinstance(action, CreateUser):
            machine.accounts.create(action.user, action.home)
        elif isinstance(action, FurnishDirectory):
            _furnish(machine, action)
        elif isinstance(action, MakeDirectory):
            files.make_directory(action.path, action.uid, action.gid, action.mode)
        elif isinstance(action, CreateFile):
            files.create_file(action.path, action.uid, action.gid, action.mode)
        elif isinstance(action, ChangeOwner):
            files.change_owner(action.path, action.type, action.uid, action.gid, action.mode)


def _furnish(machine: Machine, action: FurnishDirectory) -> None:
    group = _required(machine, action.group)
    uid = _required(machine, action.owner).uid if action.owner else 0
    machine.files.make_directory(action.path, uid, group.gid, action.mode)


def _required(machine: Machine, name: str) -> Account:
    account = machine.accounts.by_name(name)
    if account is None:
        raise HostError(f"there is no user {name} any more", hint="Run the command again.")
    return account


def _reread(machine: Machine, site: Site, groups: list[UpdateGroup], changes: FileChanges) -> None:
    """Let Supervisor read its files; if it cannot, or does not see ours, put the old files back."""
    supervisor = machine.supervisors.connect(site.supervisor)
    try:
        added, changed, _ = supervisor.reread()
        known = added | changed | {process.group for process in supervisor.facts().processes}
        for group in groups:
            if group.change != "remove" and group.group not in known:
                raise HostError(
                    f"cannot set up {group.target}: Supervisor does not read its file",
                    hint="Add the directory of supervisor.conf_dir to [include] files = … in its supervisord.conf.",
                )
    except ShiftbossError as error:
        changes.put_back(error)
        with contextlib.suppress(ShiftbossError):
            supervisor.reread()
        raise


def _turn_over(machine: Machine, site: Site, groups: list[UpdateGroup], progress: Progress) -> None:
    """Replace groups one by one; what an interruption leaves undone stays on record."""
    if not groups:
        return
    turnover = _Turnover(machine, machine.supervisors.connect(site.supervisor), progress)
    done: list[UpdateGroup] = []
    try:
        turnover.stop(groups)
        for group in groups:
            turnover.replace(group)
            done.append(group)
    finally:
        finished(machine.files, site, done)


def _reload(machine: Machine, site: Site, actions: Iterable[Action], progress: Progress) -> None:
    """Let the engine go by its manifests; wait until what ends there is gone."""
    reloads = [action for action in actions if isinstance(action, ReloadEngine)]
    if not reloads:
        return
    engine = machine.engines.connect(site.api_socket)
    try:
        refused = engine.reload()
    except HostError as error:
        names = ", ".join(action.target for action in reloads)
        raise HostError(f"{names} is set up, but {error.message}", hint=error.hint) from error
    for action in reloads:
        if words := refused.get(f"{action.target}.json"):
            raise HostError(
                f"cannot run {action.target}: the keeper refuses its manifest: {words}", hint=_REPORT
            )
        _wait_until_ended(machine, engine, action, progress)


def _wait_until_ended(machine: Machine, engine: Engine, action: ReloadEngine, progress: Progress) -> None:
    """Wait until nothing stops any more: something else may take the place of what is gone now."""
    deadline = machine.clock.monotonic() + action.stop_wait_seconds + _STOP_MARGIN_SECONDS
    while left := _still_there(engine, action):
        if machine.clock.monotonic() > deadline:
            raise HostError(
                f"cannot stop {', '.join(left)}: still there after {action.stop_wait_seconds:.0f} s",
                hint="See what it does (ps, strace), end it, then run: shiftboss apply",
            )
        progress.waiting(
            f"waiting for {', '.join(left)} to finish its work (up to {action.stop_wait_seconds:.0f} s)"
        )
        machine.clock.sleep(_POLL_SECONDS)


def _still_there(engine: Engine, action: ReloadEngine) -> list[str]:
    facts = engine.facts() if action.restarts else None
    units = facts.units if facts else ()
    living = {f"{unit.address}:{p.number}": p.state for unit in units for p in unit.processes if p.pid}
    return [
        address
        for address in action.restarts
        if address in living and (address in action.ends or living[address] == "STOPPING")
    ]


def _start(machine: Machine, site: Site, actions: Iterable[Action], progress: Progress) -> None:
    for action in actions:
        if isinstance(action, StartProcess):
            if action.backend == "native":
                machine.engines.connect(site.api_socket).start(action.name)
            else:
                machine.supervisors.connect(site.supervisor).start_process(action.name)
            progress.step(f"started {action.target}")


@dataclass
class _Turnover:
    """Replaces groups in a running Supervisor: stops what ends, all at once, and waits before it goes on."""

    machine: Machine
    supervisor: Supervisor
    progress: Progress
    _deadlines: dict[str, float] = field(default_factory=dict)
    _stopped: dict[str, list[str]] = field(default_factory=dict)

    def stop(self, groups: Iterable[UpdateGroup]) -> None:
        """Ask all groups that change or go to stop; their programs get their full stop wait, side by side."""
        known: dict[str, list[int]] = {}
        for process in self.supervisor.facts().processes:
            known.setdefault(process.group, []).append(number_of(process) or 0)
        for group in groups:
            if group.change != "add" and group.group in known:
                self.supervisor.stop_group(group.group)
                self._stopped[group.group] = [f"{group.target}:{n}" for n in known[group.group] if n]
                wait = group.stop_wait_seconds + _STOP_MARGIN_SECONDS
                self._deadlines[group.group] = self.machine.clock.monotonic() + wait

    def replace(self, group: UpdateGroup) -> None:
        """Wait for the end of the old processes, then take over what the files now say."""
        if group.group in self._deadlines:
            self._wait_until_stopped(group)
            self.supervisor.remove_group(group.group)
            self.progress.step(f"stopped {group.target}")
            self._end_left(group)
        if group.change != "remove":
            self.supervisor.add_group(group.group)

    def _end_left(self, group: UpdateGroup) -> None:
        """End what its processes left running: how they are to be stopped is not known any more."""
        pid = self.supervisor.facts().pid
        ended = self.machine.processes.end_launched(self._stopped[group.group], "TERM", pid)
        tell_ended(self.progress, group.target, ended)

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
