"""The schedules of this engine: what keeper, disk and clock report goes into the agenda, what it asks for is done.

One owner, the loop; nothing waits. The agenda (core/agenda.py) decides everything. What is added here is what a
decision needs from the world: the reason of an end from the log, the answer of a condition's command.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shiftboss.api.calls import Event
from shiftboss.core import exit_reason
from shiftboss.core.agenda import Agenda
from shiftboss.core.agenda_values import (
    Adopted,
    Asked,
    Close,
    Held,
    Incoming,
    Limits,
    NotStored,
    Outgoing,
    Reload,
    Save,
    Stored,
    Tick,
    WakeAt,
)
from shiftboss.core.errors import UserError
from shiftboss.core.occurrence import HAS_RUN, Row
from shiftboss.core.schedule_entry import (
    SCHEDULE,
    Options,
    condition_of,
    read_options,
    schedule_of,
    terms_of_options,
)
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.schedule_values import (
    Alert,
    Begin,
    Check,
    Checked,
    Exited,
    Forget,
    Gone,
    Halt,
    Kill,
    NotSpawned,
    Spawned,
)
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.conditions import Conditions
from shiftboss.engine.fleet import ghost
from shiftboss.engine.occurrences import Detail, ScheduleMemory
from shiftboss.engine.schedule_runs import Runs
from shiftboss.engine.shell_port import Shell

Report = messages.Spawned | messages.Exited | messages.Gone | messages.SpawnFailed | messages.Held
OnOutcome = Callable[[Row], None]
_SIGNALLED = 128


class _Usable(NamedTuple):
    """What an entry of the manifest says of its schedule."""

    options: Options
    terms: Terms


class Schedules:
    """All schedules. `post` puts an event into the loop's inbox; it comes back through `take`."""

    def __init__(
        self,
        shell: Shell,
        memory: ScheduleMemory,
        *,
        zone: ZoneInfo,
        post: Callable[[Incoming], None],
        idle: Callable[[], None],
    ) -> None:
        self._shell, self._memory, self._zone, self._post = shell, memory, zone, post
        self._entries: dict[str, Entry] = {}
        self._usable: dict[str, _Usable] = {}
        self._kept: list[tuple[messages.Held | messages.SpawnFailed, int]] = []
        self._agenda: Agenda | None = None
        self._inbox: deque[Incoming] = deque()
        self._is_taking = False
        self._runs = Runs(shell, zone, self._told, idle)
        self._conditions = Conditions(shell, self._checked)
        self._told_rows: set[tuple[str, int]] = set()
        self._waiters: dict[tuple[str, int], list[OnOutcome]] = {}
        self.last: dict[str, Row] = {row.address: row for row in memory.last}  # with an outcome
        self.errors: dict[str, str] = {}

    # ---- what can be asked

    def owns(self, address: str) -> bool:
        """Tell whether an entry is a schedule's, or that of a schedule that was."""
        schedule = schedule_of(address)
        if schedule != address or schedule in self._entries:
            return True
        if self._agenda:
            return self._agenda.track(schedule) is not None
        return any(mark.address == schedule for mark in self._memory.marks)

    @property
    def agenda(self) -> Agenda | None:
        """What is known of all schedules; only to be read. None before everything was taken over."""
        return self._agenda

    def addresses(self) -> list[str]:
        """Return the schedules of the manifest, sorted."""
        return sorted(self._usable)

    def options(self, address: str) -> Options:
        """Return what the manifest says of a schedule, or said when it could last be read."""
        return self._usable[address].options

    def terms(self, address: str) -> Terms:
        """Return what the agenda goes by for a schedule of the manifest."""
        return self._usable[address].terms

    def run_of(self, address: str, number: int) -> int:
        """Return the run of an occurrence, 0 if it has none (yet)."""
        track = self._agenda.track(address) if self._agenda else None
        return next((o.run for o in track.opens if o.number == number), 0) if track else 0

    def entry(self, address: str) -> Entry:
        """Return the entry of a schedule, a stand-in for one that the manifest has no more."""
        return self._entries.get(address) or ghost(address).entry

    def is_busy(self) -> bool:
        """Tell whether a run lives, or its end is being told."""
        if self._runs.any_lives() or self._conditions.any_lives():
            return True
        agenda = self._agenda
        tracks = [agenda.track(address) for address in agenda.addresses()] if agenda else []
        return any(o.stage in HAS_RUN for track in tracks if track for o in track.opens)

    # ---- the manifest

    def take_manifest(self, entries: Iterable[Entry]) -> None:
        """Take over what is wanted; runs and history of what stays are not touched."""
        before = self._entries
        self._entries = {entry.address: entry for entry in entries if entry.policy.kind == SCHEDULE}
        self._usable = dict(self._readable())
        if self._agenda:
            kept = {a: before[a] for a in self._agenda.addresses() if a in before and a not in self._entries}
            terms = tuple(self._terms())
            self._entries |= kept
            self.take(Reload(terms, self._limits()))

    def _readable(self) -> Iterable[tuple[str, _Usable]]:
        """Yield what each entry says; one that nobody can read (any more) means what it meant before."""
        self.errors = {}
        for address, entry in self._entries.items():
            try:
                options = read_options(address, entry.policy.options)
                yield address, _Usable(options, terms_of_options(address, options, self._zone))
            except UserError as error:
                before = self._usable.get(address)
                lot = "runs at the times that it had before" if before else "never runs"
                self.errors[address] = f"{address} {lot}: {error.message}"
                if before:
                    yield address, before

    def _terms(self) -> Iterable[Terms]:
        return [usable.terms for usable in self._usable.values()]

    def _limits(self) -> Limits:
        return Limits(*max((usable.options.most_runs for usable in self._usable.values()), default=(0, 0)))

    # ---- taking over

    def keep(self, report: messages.Held | messages.SpawnFailed, descriptor: int = -1) -> None:
        """Take note of a run that the keeper holds, until all of them are known."""
        self._kept.append((report, descriptor))

    def begin(self, keeper: str, boot: str) -> None:
        """Take everything over; `keeper` names the life of the keeper, `boot` that for which @reboot is due once."""
        agenda = Agenda(keeper=keeper, boot=boot)
        memory = self._memory
        agenda.load(self._terms(), memory.marks, memory.opens, self._limits(), self._shell.moment())
        self._agenda = agenda
        kept, self._kept = self._kept, []
        for report, descriptor in kept:
            self.report(report, descriptor)
        self.take(Adopted())

    # ---- what the keeper reports

    def report(self, report: Report, descriptor: int = -1) -> None:
        """Take a report about a run of a schedule, or of a condition."""
        if schedule_of(report.entry) != report.entry:
            self._conditions.report(self._entries_of_condition(report.entry), report, descriptor)
            return
        entry, lane, run = self.entry(report.entry), report.process, report.run
        match report:
            case messages.Spawned():
                began = self._wall_of(report.started)
                self._runs.begin(entry, report, descriptor, began, self._cause(entry.address, run))
                self.take(Asked(entry.address, Spawned(run, began, report.started)))
            case messages.Exited():
                self._exited(entry, report)
            case messages.Gone():
                self._runs.gone(entry, report)
            case messages.SpawnFailed():
                words = exit_reason.spawn_reason(report.step, report.errno, report.words)
                self._runs.failed(entry, run, words)
                self.take(Asked(entry.address, NotSpawned(run, words)))
            case messages.Held():
                self._held(entry, lane, report, descriptor)

    def _held(self, entry: Entry, lane: int, held: messages.Held, descriptor: int) -> None:
        if not self._runs.knows(entry.address, held.run):
            self._take_over(entry, lane, held, descriptor)
            return
        self._shell.close_descriptor(descriptor)  # the keeper tells everything again
        if held.exit:
            ended = messages.Exited(held.entry, held.process, held.run, held.exit, held.gone)
            self._exited(entry, ended)
        if held.gone:
            self._runs.gone(entry, messages.Gone(held.entry, held.process, held.run))

    def _exited(self, entry: Entry, report: messages.Exited) -> None:
        usable = self._usable.get(entry.address)
        has_tasks = usable is not None and usable.options.policy.asks_inside
        self._runs.exited(entry, report, asked=self._is_asked(entry.address, report.run), has_tasks=has_tasks)

    def _take_over(self, entry: Entry, lane: int, held: messages.Held, descriptor: int) -> None:
        began, run = self._wall_of(held.started), held.run
        self._runs.take_over(entry, held, descriptor, began)
        exited = None
        if held.exit:
            is_news = self._occurrence_cause(entry.address, run) != (0, "")
            words = self._runs.take_over_end(entry, held, is_news=is_news)
            exited = self._exit_event(run, held.exit, words, ok=held.exit.code == 0, gone=held.gone)
        self.take(Held(entry.address, lane, run, began, held.started, exited, held.gone))

    def _told(self, entry: Entry, report: messages.Exited | messages.Gone, words: str, ok: bool) -> None:
        """Take the end of a run, once its reason is known."""
        if isinstance(report, messages.Gone):
            self.take(Asked(entry.address, Gone(report.run)))
        else:
            event = self._exit_event(report.run, report.exit, words, ok=ok, gone=report.gone)
            self.take(Asked(entry.address, event))

    def _exit_event(self, run: int, ended: messages.Exit, words: str, *, ok: bool, gone: bool) -> Exited:
        status = ended.code if ended.code >= 0 else _SIGNALLED - ended.code
        return Exited(run, ok, status, words, self._wall_of(ended.at), not gone, bool(ended.sent))

    def _checked(self, address: str, run: int, words: str) -> None:
        """Take the answer of a condition; no words: the schedule may run."""
        self.take(Asked(address, Checked(run, not words, words)))

    def _wall_of(self, monotonic: float) -> float:
        return self._shell.wall() - (self._shell.now() - monotonic)

    def _entries_of_condition(self, address: str) -> Entry:
        return self.entry(schedule_of(address))._replace(address=address)

    def _occurrence_cause(self, address: str, run: int) -> tuple[int, str]:
        track = self._agenda.track(address) if self._agenda else None
        found = next((o for o in track.opens if o.run == run), None) if track else None
        return (found.due, found.cause) if found else (0, "")

    def _cause(self, address: str, run: int) -> str:
        due, cause = self._occurrence_cause(address, run)
        if cause or not due:
            return cause or "found running"
        return f"due {datetime.fromtimestamp(due, self._zone).isoformat(timespec='seconds')}"

    def _is_asked(self, address: str, run: int) -> bool:
        track = self._agenda.track(address) if self._agenda else None
        return any(o.run == run and o.ending is not None for o in track.opens) if track else False

    # ---- the agenda

    def take(self, event: Incoming) -> None:
        """Put an event through the agenda and do what follows."""
        self._inbox.append(event)
        if self._is_taking or self._agenda is None:
            return
        self._is_taking = True
        try:
            while self._inbox:
                for wish in self._agenda.take(self._inbox.popleft(), self._shell.moment()):
                    self._perform(wish)
        finally:
            self._is_taking = False

    def close(self) -> None:
        """Start nothing more; what runs is asked to end."""
        self.take(Close())

    def _perform(self, wish: Outgoing) -> None:
        match wish:
            case Save():
                self._save(wish)
            case WakeAt(wall, mono):
                self._shell.wake_at(wall, mono, partial(self._post, Tick()))
            case Check(address, lane, run):
                self._conditions.ask(condition_of(address), lane, run)
            case Alert(kind, address, words):
                self._tell(
                    Event(at=self._shell.wall(), kind="alert", target=address, state=kind, reason=words)
                )
            case _:
                self._order(wish)

    def _order(self, wish: Begin | Halt | Kill | Forget) -> None:
        """Pass an order on to the keeper."""
        address, lane, run = wish
        match wish:
            case Begin():
                self._shell.send(messages.Spawn(address, lane, run))
            case Halt():
                self._shell.send(messages.Stop(address, lane, run))
            case Kill():
                self._shell.send(messages.Kill(address, lane, run))
            case Forget():
                self._runs.forget(self.entry(address), lane, run)

    def _save(self, save: Save) -> None:
        """Have it written; who waits for an outcome is told when it is on disk, or cannot be."""
        ended = [row for row in save.rows if row.outcome]
        for row in ended:
            if (row.address, row.number) not in self._told_rows:
                self._told_rows.add((row.address, row.number))
                self._tell(_event(row, self._shell.wall()))
            self.last[row.address] = row
        details = self._runs.details()
        self._shell.save(save, details, partial(self._saved, save, ended, details))

    def _saved(self, save: Save, ended: list[Row], details: list[Detail], words: str) -> None:
        if words:
            self._runs.put_back(details)
        self._post(NotStored(save.batch, words) if words else Stored(save.batch))
        for row in ended:
            if not words:
                self._told_rows.discard((row.address, row.number))
            for waiter in self._waiters.pop((row.address, row.number), ()):
                waiter(row)

    def wait_for(self, address: str, number: int, then: OnOutcome) -> None:
        """Call `then` with the outcome of an occurrence that has none yet."""
        self._waiters.setdefault((address, number), []).append(then)

    def _tell(self, event: Event) -> None:
        if event.kind == "alert":
            self._shell.record(event)
            self._shell.flush()
        self._shell.publish(event)


def _event(row: Row, now: float) -> Event:
    """Return the event that tells of an outcome."""
    return Event(
        at=row.ended or now,
        kind="occurrence",
        target=row.address,
        run=row.run,
        started=row.began,
        code=row.exit_status,
        outcome=row.outcome,
        reason=row.reason or None,
    )
