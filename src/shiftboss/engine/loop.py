"""The engine's loop: one inbox, one owner of all state. Messages are values; what follows from them is effects."""

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Event
from shiftboss.core import access, lifecycle
from shiftboss.core.agenda_values import Incoming
from shiftboss.core.errors import ShiftbossError
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine import manifest
from shiftboss.engine.adoption import Adoption
from shiftboss.engine.database import Memory
from shiftboss.engine.fleet import Fleet
from shiftboss.engine.lives import Lives
from shiftboss.engine.manifest import Offers
from shiftboss.engine.memory_watch import MemoryWatch
from shiftboss.engine.requests import Requests
from shiftboss.engine.schedule_requests import ScheduleRequests
from shiftboss.engine.schedules import Schedules
from shiftboss.engine.shell_port import Key, Shell

log = logging.getLogger(__name__)

_RESYNC_SECONDS = 1.0
RunReport = messages.Spawned | messages.Exited | messages.Gone | messages.SpawnFailed | messages.Held
_ABOUT_RUNS = (messages.Spawned, messages.Exited, messages.Gone, messages.SpawnFailed, messages.Held)


class Received(NamedTuple):
    """The keeper said something; `descriptor` came with it (negative: none)."""

    report: messages.Report
    descriptor: int = -1


class Rang(NamedTuple):
    """A timer of a process ran out."""

    key: Key
    epoch: int


class Asked(NamedTuple):
    """A client wants something changed; `reply` or `refuse` is called, now or later."""

    call: str
    request: calls.Struct
    who: str
    reply: Callable[[Answer], None]
    refuse: Callable[[ShiftbossError], None]
    uid: int | None = None


class Lost(NamedTuple):
    """The keeper is gone."""


class Missed(NamedTuple):
    """Something that the keeper sent was lost on its way."""


class Scheduled(NamedTuple):
    """Something for the schedules: the clock, or what became of a batch on its way to the disk."""

    event: Incoming


Message = Received | Rang | Asked | Lost | Missed | Scheduled


class Loop:
    """Takes messages in their order. `post` may be called from anywhere in the engine, also by effects."""

    def __init__(
        self,
        shell: Shell,
        memory: Memory,
        *,
        boot: str,
        first_run: int = 0,
        zone: ZoneInfo = ZoneInfo("UTC"),  # noqa: B008 -- a constant
    ) -> None:
        self._shell = shell
        self._boot = boot
        self.lives = Lives(shell, memory, boot=boot, first_run=first_run)
        self.requests = Requests(self.lives)
        self.schedules = Schedules(
            shell,
            memory.schedules,
            zone=zone,
            post=lambda event: self.post(Scheduled(event)),
            idle=self.lives.end_if_all_gone,
        )
        self.lives.others_live = self.schedules.is_busy
        self._schedule_requests = ScheduleRequests(shell, self.schedules, self.lives)
        self._watch = MemoryWatch(self.lives)
        self.hello: messages.Hello | None = None
        self._inbox: deque[Message] = deque()
        self._is_draining = False
        self._adoption: Adoption | None = Adoption(self.lives)
        self._early: list[Received] = []
        self._offers = Offers()
        self._resync_is_due = False

    @property
    def fleet(self) -> Fleet:
        """Everything that is known; only to be read."""
        return self.lives.fleet

    def post(self, message: Message) -> None:
        """Take a message, and everything that follows from it."""
        self._inbox.append(message)
        if not self._is_draining:
            self._drain()

    def _drain(self) -> None:
        self._is_draining = True
        try:
            while self._inbox:
                self._take(self._inbox.popleft())
        finally:
            self._is_draining = False

    def _take(self, message: Message) -> None:
        match message:
            case Received(report=report, descriptor=descriptor):
                self._received(report, descriptor)
            case Rang(key=(entry, number), epoch=epoch):
                slot = self.fleet.find(entry, number)
                if slot:
                    self.lives.apply(slot, lifecycle.Elapsed(epoch))
            case Asked():
                self._asked(message)
            case Scheduled(event):
                self.schedules.take(event)
            case Missed():
                self._sync_again_soon()
            case Lost():
                self._lost()

    def _lost(self) -> None:
        if not self.lives.is_closing:
            log.error("the keeper is gone: nothing more is started", extra={"event": "keeper_lost"})
        self._close(is_lost=True)

    # ---- clients

    def _asked(self, asked: Asked) -> None:
        try:
            self._carry_out(asked)
        except ShiftbossError as error:
            asked.refuse(error)

    def _carry_out(self, asked: Asked) -> None:
        requests, who, reply = self.requests, asked.who, asked.reply
        requests.uid = self._schedule_requests.uid = asked.uid
        match asked.call, asked.request:
            case "start", calls.Act() as request:
                requests.start(request, who, reply)
            case "stop", calls.Act() as request:
                requests.stop(request, who, reply)
            case "restart", calls.Act() as request:
                requests.restart(request, who, reply)
            case "scale", calls.Scale() as request:
                requests.scale(request, who, reply)
            case "reload", calls.Reload() as request:
                requests.reload(request, who, reply)
            case "shutdown", _:
                requests.shutdown(who, reply)
            case _:
                self._schedule_requests.carry_out(asked.call, asked.request, who, reply)

    # ---- the keeper

    def _received(self, report: messages.Report, descriptor: int) -> None:
        if self._adoption and isinstance(report, messages.Spawned | messages.Exited | messages.Gone):
            self._early.append(Received(report, descriptor))  # it is about a run that is not taken over yet
            return
        if isinstance(report, _ABOUT_RUNS) and self.schedules.owns(report.entry):
            self._of_schedule(report, descriptor)
            return
        match report:
            case messages.Spawned():
                self.lives.spawned(report, descriptor)
            case messages.Exited():
                self.lives.exited(report)
            case messages.Gone():
                self.lives.gone(report)
            case messages.SpawnFailed():
                self._spawn_failed(report)
            case messages.Held():
                self._held(report, descriptor)
            case _:
                self._told(report, descriptor)

    def _of_schedule(self, report: RunReport, descriptor: int) -> None:
        if self._adoption and isinstance(report, messages.Held | messages.SpawnFailed):
            self.schedules.keep(report, descriptor)
        else:
            self.schedules.report(report, descriptor)

    def _told(self, report: messages.Report, descriptor: int) -> None:
        """Take what is not about a single run."""
        match report:
            case messages.Offer():
                self._offers.add(report)
            case messages.Manifest():
                self._manifest(report)
            case messages.Release():
                self._release(report)
            case _:
                self._about_itself(report, descriptor)

    def _about_itself(self, report: messages.Report, descriptor: int) -> None:
        """Take what the keeper says of itself."""
        match report:
            case messages.Hello():
                self.hello = report
                self._shell.serve(descriptor, report.api_path)
            case messages.Synced():
                self._synced()
            case messages.Stopping():
                log.info("everything is being stopped", extra={"event": "stopping"})
                self._close(is_lost=False)
            case messages.Refused(words=words):
                log.error("the keeper refused a request: %s", words, extra={"event": "refused"})

    def _held(self, report: messages.Held, descriptor: int) -> None:
        if self._adoption:
            self._adoption.keep(report, descriptor)
        else:
            self.lives.held(report, descriptor)

    def _spawn_failed(self, report: messages.SpawnFailed) -> None:
        if self._adoption:
            self._adoption.keep(report)
        else:
            self.lives.spawn_failed(report)

    def _manifest(self, report: messages.Manifest) -> None:
        entries = self._offers.complete(report)
        self.fleet.manifest_errors = report.errors
        if entries is None:
            self._sync_again_soon()
            return
        self.fleet.projects = access.projects_of(
            entries.values()
        )  # first of all: rights that were taken are gone
        self._shell.limits_changed(list(entries.values()))
        self.schedules.take_manifest(entries.values())
        if self._adoption:
            self._adoption.manifest(entries)
        elif not self.lives.is_closing:
            self._changed_manifest(entries, report.errors)

    def _changed_manifest(self, entries: dict[str, Entry], errors: dict[str, str]) -> None:
        difference = manifest.take(self.lives, entries)
        who, uid = self.requests.who_reloads()
        for kind in ("added", "removed", "restarted", "resized"):
            for address in getattr(difference, kind):
                at = self._shell.wall()
                event = Event(at=at, kind="config", target=address, reason=kind, who=who, uid=uid)
                self._shell.record(event)
                self._shell.publish(event)
        self._watch.begin()
        self.requests.reloaded(difference, errors)

    def _release(self, report: messages.Release) -> None:
        before = self.fleet.releases.get(report.project)
        self.fleet.releases[report.project] = report.path
        if before is None or before == report.path:
            return
        event = Event(at=self._shell.wall(), kind="release", target=report.project, reason=report.path)
        self._shell.record(event)
        self._shell.publish(event)
        if report.path:
            for slot in self.fleet.slots():
                if slot.unit.project == report.project:
                    self.lives.apply(slot, lifecycle.Released())

    def _synced(self) -> None:
        self._resync_is_due = False
        if self._adoption:
            adoption, self._adoption = self._adoption, None
            adoption.finish()
            hello = self.hello or messages.Hello(0, "", 0, "")
            life = f"{self._boot}/{hello.pid}/{hello.started}"
            is_container = hello.pid == 1  # then the start of the keeper is the boot
            self.schedules.begin(life, life if is_container else self._boot)
            self._watch.begin()
            early, self._early = self._early, []
            for report, descriptor in early:
                self._received(report, descriptor)
            self._shell.ready()

    def _sync_again_soon(self) -> None:
        if not self._resync_is_due:
            self._resync_is_due = True
            self._shell.after(_RESYNC_SECONDS, self._sync_again)

    def _sync_again(self) -> None:
        self._resync_is_due = False
        self._shell.send(messages.Sync())

    def _close(self, *, is_lost: bool) -> None:
        self.schedules.close()
        if not self.lives.is_closing or is_lost:
            self.lives.close(is_lost=is_lost)
