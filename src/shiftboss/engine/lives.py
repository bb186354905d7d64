"""The lives of all processes: what the keeper reports goes through the table, what follows is done. Nothing waits."""

from collections.abc import Callable
from functools import partial

from shiftboss.core import exit_reason, lifecycle
from shiftboss.core.backoff import Tally
from shiftboss.core.lifecycle import Process, State, Wish
from shiftboss.core.wire import messages
from shiftboss.engine.database import Memory, ProcessMemory
from shiftboss.engine.fleet import Fleet, Slot, Unit
from shiftboss.engine.shell_port import Shell
from shiftboss.engine.telling import End, Telling

_NEVER_ENDED = messages.Exit(
    code=-9, at=0.0, sent="", core_dumped=False, user_seconds=0, system_seconds=0, max_rss_bytes=0
)


class Lives:
    """The one owner of every process's state."""

    def __init__(self, shell: Shell, memory: Memory, *, boot: str, first_run: int = 0) -> None:
        self.shell = shell
        self.fleet = Fleet()
        self.memory = memory
        self.boot = boot
        self.is_closing = self.is_lost = False  # lost: without the keeper, who would stop what lives
        self.others_live: Callable[[], bool] = lambda: False  # runs of schedules
        self.telling = Telling(shell, self._told_change, self.end_if_all_gone)
        self._first_run = first_run

    # ---- the end

    def close(self, *, is_lost: bool) -> None:
        """Start nothing more. What lives is the keeper's to stop; the wishes of users stay."""
        self.is_closing, self.is_lost = True, is_lost
        for slot in list(self.fleet.slots()):
            self.apply(slot, lifecycle.Stop())
        self.shell.closing(is_lost=is_lost)
        self.telling.put_off(self.end_if_all_gone)

    def end_if_all_gone(self) -> None:
        """End the engine if nothing of anybody lives."""
        if not self.is_closing:
            return  # asked after each run of a schedule: all processes are only looked at near the end
        living = any(lifecycle.is_alive(slot.process) for slot in self.fleet.slots())
        if not living and not self.others_live():
            self.shell.end()

    # ---- through the table

    def apply(self, slot: Slot, event: lifecycle.Event, now: float | None = None) -> None:
        """Put an event through the table and do what follows."""
        when = self.shell.now() if now is None else now
        outcome = lifecycle.step(slot.process, event, when, slot.unit.policy, self.shell.jitter())
        self.become(slot, *outcome)

    def become(self, slot: Slot, process: Process, effects: tuple[lifecycle.Effect, ...]) -> None:
        """Take over an outcome of the table."""
        before, slot.process = slot.process.state, process
        for effect in effects:
            self._perform(slot, effect)
        if process.state is not before:
            self._changed(slot, effects)

    def _perform(self, slot: Slot, effect: lifecycle.Effect) -> None:
        entry, number = slot.key
        match effect:
            case lifecycle.Spawn(run=run):
                if not self.is_closing:
                    self.shell.send(messages.Spawn(entry, number, run))
            case lifecycle.Halt(run=run):
                self.shell.send(messages.Stop(entry, number, run))
            case lifecycle.Kill(run=run):
                self.shell.send(messages.Kill(entry, number, run))
            case lifecycle.Arm(epoch=epoch, seconds=seconds):
                self.shell.arm(slot.key, epoch, seconds)

    def _changed(self, slot: Slot, effects: tuple[lifecycle.Effect, ...]) -> None:
        if not any(isinstance(effect, lifecycle.Arm) for effect in effects):
            self.shell.cancel(slot.key)
        self.telling.change(slot)

    def _told_change(self, slot: Slot, state: State, run: int) -> None:
        if state is State.STOPPED:
            self._drop_if_over(slot, run)

    def _drop_if_over(self, slot: Slot, run: int) -> None:
        """Forget a process that should not exist any more, if `run` was its last: its end is counted by now."""
        if not (slot.retired and slot.process.state is State.STOPPED and slot.process.run == run):
            return
        unit = slot.unit
        if unit.slots.get(slot.number) is slot:
            del unit.slots[slot.number]
            self.shell.cancel(slot.key)
            self._remember_dropped(slot)
        if unit.is_ghost and not unit.slots and self.fleet.units.get(unit.address) is unit:
            del self.fleet.units[unit.address]

    def _remember_dropped(self, slot: Slot) -> None:
        """Remember which runs a process that is no more had: the next of its name goes on from there."""
        memory = slot.memory()._replace(down="")
        if slot.unit.is_ghost:
            memory = ProcessMemory(ended_run=memory.ended_run)
        self.memory.processes[slot.key] = memory
        self.shell.remember(slot.key, memory)

    # ---- what exists

    def slot(self, unit: Unit, number: int) -> Slot:
        """Return a process of a unit; a new one is as it is remembered."""
        found = unit.slots.get(number)
        if found is None:
            found = unit.slot(number)
            memory = self.memory.processes.pop(found.key, ProcessMemory())
            found.down = memory.down if memory.down in ("keep", self.boot) else ""
            found.ended_run, found.restarts, found.reason = memory.ended_run, memory.restarts, memory.reason
            tally = Tally(memory.failures, memory.brief)
            found.process = Process(run=max(memory.ended_run, self._first_run), tally=tally)
        return found

    def resize(self, unit: Unit) -> list[Slot]:
        """Start and retire processes until the unit has as many as it should; return those concerned."""
        concerned = []
        for number in range(1, unit.wanted + 1):
            slot = unit.slots.get(number)
            if slot is None or slot.retired:
                concerned.append(self._add(unit, number))
        for number in [number for number in unit.slots if number > unit.wanted]:
            slot = unit.slots[number]
            if not slot.retired:
                concerned.append(slot)
                self.retire(slot)
        return concerned

    def _add(self, unit: Unit, number: int) -> Slot:
        slot = self.slot(unit, number)
        slot.retired = False
        if slot.down:
            self.become(slot, *lifecycle.adopt(Wish.DOWN, None, 0.0, unit.policy, slot.process))
        else:
            self.apply(slot, lifecycle.Start())
        return slot

    def retire(self, slot: Slot) -> None:
        """Stop a process that should not exist any more, then forget it."""
        slot.retired = True
        self.apply(slot, lifecycle.Stop())
        if slot.process.state is State.STOPPED:
            self.telling.in_order(slot, partial(self._drop_if_over, slot, slot.process.run))

    # ---- what the keeper reports

    def spawned(self, report: messages.Spawned, descriptor: int) -> None:
        """A run lives."""
        if self._take_in(report, descriptor):
            self.telling.start(report)

    def _take_in(self, report: messages.Spawned | messages.Held, descriptor: int) -> bool:
        """Note what lives; False: it should not be, and is ended."""
        if slot := self._of(report):
            self.note_life(slot, report, descriptor)
            self.apply(slot, lifecycle.Spawned(report.run), report.started)
        elif slot := self._from_before(report):
            self.note_life(slot, report, descriptor)
        else:
            self.unknown(report, descriptor)
        return slot is not None

    def note_life(self, slot: Slot, report: messages.Spawned | messages.Held, descriptor: int) -> None:
        """Note what lives, and capture its output."""
        slot.pid, slot.started = report.pid, report.started
        slot.release, slot.revision, slot.notes = report.release, report.revision, report.notes
        slot.cgroup, slot.groups = report.cgroup, report.groups
        if descriptor >= 0:
            self.shell.attach(slot.unit.entry, slot.number, report.run, descriptor)

    def _from_before(self, report: messages.Spawned | messages.Held) -> Slot | None:
        """Take over a run that the engine before us asked for last: the keeper tells of it when it has started.

        None: it is not that. A run that is counted for nobody would give its number to another one.
        """
        unit = self.fleet.units.get(report.entry)
        if unit is None:
            return None
        slot = unit.slots.get(report.process)
        ended = self.memory.processes.get((report.entry, report.process), ProcessMemory()).ended_run
        if report.run <= (slot.process.run if slot else ended) or (slot and lifecycle.is_alive(slot.process)):
            return None
        if slot is None:
            slot = self.slot(unit, report.process)
            slot.retired = report.process > unit.wanted
        known = lifecycle.Held(report.run, report.started, stopping=False, ok=None)
        wish, now = remembered_wish(slot), self.shell.now()
        self.become(slot, *lifecycle.adopt(wish, known, now, unit.policy, slot.process))
        return slot

    def unknown(self, report: messages.Spawned | messages.Held, descriptor: int) -> None:
        """End a run that should not be; what it wrote is kept."""
        unit = self.fleet.units.get(report.entry)
        if unit and descriptor >= 0:
            self.shell.attach(unit.entry, report.process, report.run, descriptor)
        else:
            self.shell.close_descriptor(descriptor)
        if isinstance(report, messages.Spawned) or report.exit is None:
            self.shell.send(messages.Kill(report.entry, report.process, report.run))

    def held(self, report: messages.Held, descriptor: int) -> None:
        """Take note of a run that the keeper tells about again: what was missed is made good."""
        slot = self._of(report)
        run = (report.entry, report.process, report.run)
        if self.telling.is_told(run) or (slot and report.run <= slot.ended_run):
            self.shell.close_descriptor(descriptor)  # it is over: its output is ours already
        else:
            self._take_in(report, descriptor)
        if report.exit:
            self.exited(messages.Exited(*run, report.exit, report.gone))

    def spawn_failed(self, report: messages.SpawnFailed) -> None:
        """Take note of a start that failed."""
        slot = self._of(report)
        if slot is None or report.run <= slot.ended_run:
            self.shell.send(messages.Forget(report.entry, report.process, report.run))
            return
        slot.pid = None
        missing = exit_reason.is_missing(report.step, report.errno)
        self.telling.failure(slot, report)
        event = lifecycle.Missing(report.run) if missing else lifecycle.SpawnFailed(report.run)
        self.apply(slot, event)

    def exited(self, report: messages.Exited, *, asked: bool = False) -> None:
        """Take note of the end of a main program; `asked`: it is known from elsewhere that somebody wanted it."""
        if self.telling.is_told((report.entry, report.process, report.run)):  # said twice
            return
        slot = self._of(report)
        if slot is None:
            self._exited_unknown(report)
            return
        process = slot.process
        asked = asked or (process.state is State.STOPPING and process.ended is None)
        ok = report.exit.code == 0
        # now: the next run has cgroups of its own
        starved = None if ok or asked or not slot.groups else self.shell.starved(slot.groups)
        self.telling.exit(slot, End(report, slot.started, asked, starved))
        slot.pid = None
        event = lifecycle.Exited(report.run, ok, leftovers=not report.gone, starved=starved is not None)
        self.apply(slot, event, report.exit.at)

    def _exited_unknown(self, report: messages.Exited) -> None:
        """Count the end of a run that should not have been; nothing else follows from it."""
        slot = self.fleet.find(report.entry, report.process)
        if slot is None or report.run <= slot.ended_run:
            self.shell.send(messages.Forget(report.entry, report.process, report.run))
            return
        self.telling.exit(slot, End(report, report.exit.at, asked=True))
        if not report.gone:
            self.shell.send(messages.Kill(report.entry, report.process, report.run))

    def past(self, slot: Slot, held: messages.Held, ended: messages.Exit, descriptor: int) -> None:
        """Count the end of an earlier run that no engine has heard of."""
        if descriptor >= 0:
            self.shell.attach(slot.unit.entry, slot.number, held.run, descriptor)
        report = messages.Exited(held.entry, held.process, held.run, ended, gone=True)
        starved = self.shell.starved(held.groups) if held.groups else None
        self.telling.exit(slot, End(report, held.started, held.stopping, starved))

    def gone(self, report: messages.Gone) -> None:
        """Take note that nothing of a run is left."""
        run = (report.entry, report.process, report.run)
        slot = self.fleet.find(report.entry, report.process)
        if self.telling.is_told(run):
            self.telling.gone(run)
        elif slot and slot.process.run == report.run and slot.pid is not None:
            # its exit was never told: the keeper has lost it
            end = _NEVER_ENDED._replace(at=self.shell.now())
            self.exited(messages.Exited(*run, end, gone=True))
        else:
            self.shell.send(messages.Forget(*run))
        if slot and slot.process.run == report.run:
            self.apply(slot, lifecycle.Gone(report.run))

    def _of(
        self, report: messages.Spawned | messages.Held | messages.SpawnFailed | messages.Exited
    ) -> Slot | None:
        """Return the process whose present run a report is about."""
        slot = self.fleet.find(report.entry, report.process)
        return slot if slot and slot.process.run == report.run else None


def remembered_wish(slot: Slot) -> Wish:
    """Return what is wanted of a process that is taken over or made."""
    return Wish.DOWN if slot.down or slot.retired else Wish.UP
