"""From a decoded request to its answer: the calls that only read are answered here, the others go into the inbox."""

import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Event, LogLines, LogTails
from shiftboss.core import access
from shiftboss.core.access import Caller
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.names import Target, parse_target
from shiftboss.core.run_log import output_of
from shiftboss.engine.answers import StatusReport
from shiftboss.engine.capture import Capture
from shiftboss.engine.database import Database
from shiftboss.engine.hub import Hub
from shiftboss.engine.loop import Asked, Loop
from shiftboss.engine.occurrences import Wanted
from shiftboss.engine.schedule_answers import as_occurrence, schedules_status
from shiftboss.engine.schedule_requests import chosen
from shiftboss.engine.shell import RealShell
from shiftboss.engine.store import Store
from shiftboss.version import VERSION


class Client(Protocol):
    """The connection that a request came from."""

    caller: Caller
    who: str
    on_end: list[Callable[[], None]]  # called when the client is gone

    def reply(self, request_id: int, answer: Answer) -> None:
        """Send the answer."""
        ...

    def refuse(self, request_id: int, error: ShiftbossError) -> None:
        """Send why there is none."""
        ...

    def item(self, request_id: int, item: Answer) -> None:
        """Send a part of a stream; a client that is far behind is dropped."""
        ...

    async def ready(self) -> bool:
        """Wait until the client has read most of what was sent; False: it is gone."""
        ...


class Dispatch:
    """Knows the parts that answers are made of."""

    def __init__(
        self, loop: Loop, shell: RealShell, store: Store, database: Database, capture: Capture, hub: Hub
    ) -> None:
        self._loop, self._shell, self._store = loop, shell, store
        self._database, self._capture, self._hub = database, capture, hub
        self._started = time.monotonic()

    @property
    def projects(self) -> access.Projects:
        """Whose the projects are, as of now."""
        return self._loop.fleet.projects

    def arguments(self, caller: Caller, request: calls.Request) -> calls.Struct:
        """Return the arguments of a request, about nothing but what the caller may; raise UserError, DeniedError.

        This is the one place where a request is checked: who carries it out may believe its targets.
        """
        arguments = decode_args(request)
        need = calls.CALLS[request.call].access
        if need == "anyone" or caller.is_admin:
            return arguments
        if isinstance(target := getattr(arguments, "target", None), str):
            access.narrowed(caller, need, (target,), self.projects)
            return arguments
        named = getattr(arguments, "targets", None)
        if named is None:  # about no project: nobody but an administrator's
            need = "admin"
        return replace(arguments, targets=access.narrowed(caller, need, named or (), self.projects))

    def at_once(self, call: str, request: calls.Struct, caller: Caller) -> Answer | None:
        """Answer a call that only looks at memory; None: it is not one of these."""
        match call, request:
            case "ping", _:
                return calls.Done()
            case "version", _:
                return self._version()
            case "status", calls.Select() as select:
                return self._status(select, caller)
            case "schedules", calls.Select(targets):
                return self._schedules(targets, caller)
        return None

    def post(self, client: Client, request_id: int, call: str, request: calls.Struct) -> None:
        """Put a call that changes something into the inbox."""

        def reply(answer: Answer) -> None:
            client.reply(request_id, answer)

        def refuse(error: ShiftbossError) -> None:
            client.refuse(request_id, error)

        self._loop.post(Asked(call, request, client.who, reply, refuse, client.caller.uid))

    def events(self, client: Client, request_id: int, select: calls.Select) -> None:
        """Begin to send events; `client.on_end` ends it."""
        wanted = [parse_target(target) for target in select.targets]

        def listen(event: Event) -> None:
            is_wanted = not wanted or any(_is_about(event, target) for target in wanted)
            if is_wanted and access.may_read(client.caller, event.target, self.projects):
                client.item(request_id, event)

        client.reply(request_id, calls.Done())
        client.on_end.append(self._hub.subscribe(listen))

    async def history(self, query: calls.History) -> calls.HistoryRows:
        """Read past events."""
        targets = []
        for text in query.targets:
            target = parse_target(text)
            address = target.project if target.unit is None else f"{target.project}/{target.unit}"
            targets.append((address, target.process or 0))
        return calls.HistoryRows(events=tuple(await self._store.history(query, targets)))

    def _schedules(self, targets: tuple[str, ...], caller: Caller) -> calls.Schedules:
        schedules = self._loop.schedules
        if not caller.is_admin:  # all that is theirs was named for them, also what has no schedule
            known = schedules.addresses()
            targets = tuple(t for t in targets if "/" in t or any(a.startswith(f"{t}/") for a in known))
            if not targets:
                return calls.Schedules(schedules=())
        return schedules_status(schedules, chosen(schedules.addresses(), targets), self._shell.wall())

    async def occurrences(self, query: calls.Occurrences) -> calls.OccurrenceRows:
        """Read past and open occurrences."""
        wanted = Wanted(query.targets, query.outcomes, query.since, query.until, query.limit)
        rows = await self._store.occurrences(wanted)
        return calls.OccurrenceRows(occurrences=tuple(as_occurrence(*row) for row in rows))

    async def run_log(self, query: calls.RunLog) -> LogLines:
        """Read the output of one run."""
        found = await self._tail(query.target, _MOST_LINES)
        return replace(found, lines=tuple(output_of(found.lines, query.run)))

    async def logs(self, query: calls.Logs) -> LogTails:
        """Read the last lines of logs."""
        units = self._loop.fleet.select_units(query.targets)
        found: list[LogLines] = []
        room = _MOST_LOG_TEXT
        for unit in units:
            if room > 0:
                found.append(await self._tail(unit.address, query.lines))
                room -= sum(map(len, found[-1].lines))
            else:
                found.append(LogLines(target=unit.address, trouble=_TOO_MUCH_TEXT))
        return LogTails(logs=tuple(found))

    async def _tail(self, entry: str, lines: int) -> LogLines:
        try:
            return LogLines(target=entry, lines=tuple(await self._capture.tail(entry, lines)))
        except HostError as error:
            return LogLines(target=entry, trouble=error.message)

    def followed(self, query: calls.Logs, caller: Caller) -> list[AsyncIterator[LogLines]]:
        """Return a stream of lines for each selected log; it ends when the caller may read it no more."""
        units = self._loop.fleet.select_units(query.targets)
        if len(units) > _MOST_FOLLOWED:
            raise UserError(
                f"cannot follow {len(units)} logs at once", hint=f"Name at most {_MOST_FOLLOWED} units."
            )
        return [self._follow(unit.address, query.lines, caller) for unit in units]

    async def _follow(self, entry: str, backlog: int, caller: Caller) -> AsyncIterator[LogLines]:
        follower = self._capture.subscribe(entry, backlog)
        try:
            async for line in follower:
                if not access.may_read(caller, entry, self.projects):
                    return
                yield LogLines(target=line.entry, lines=(line.text,), process=line.process, lost=line.lost)
        finally:
            follower.close()

    def _status(self, select: calls.Select, caller: Caller) -> calls.Status:
        fleet = self._loop.fleet
        slots = fleet.select(select.targets)
        if not select.targets:  # who waits until something is gone must see it
            slots = sorted([*slots, *fleet.leaving()], key=lambda slot: slot.key)
        timed = [
            unit for unit in fleet.select_units(select.targets) if not unit.is_worker and not unit.is_ghost
        ]
        report = StatusReport(fleet, self._shell, self._capture.problems(), with_use=select.usage)
        found = report.of(slots, self.troubles(caller), timed)
        hello = self._loop.hello
        return replace(found, controllers=hello.controllers) if hello else found

    def troubles(self, caller: Caller) -> tuple[str, ...]:
        """Return what is wrong with the backend itself, as sentences; nothing of projects that are not the caller's."""
        hello = self._loop.hello
        found = list(hello.degraded) if hello else []
        if self._loop.lives.is_closing:
            found.append(_KEEPER_GONE if self._loop.lives.is_lost else "everything is being stopped")
        found += [
            f"manifest {file}: {words}"
            for file, words in self._loop.fleet.manifest_errors.items()
            if access.may_read(caller, file.removesuffix(".json"), self.projects)
        ]
        for address, words in self._loop.schedules.errors.items():
            if access.may_read(caller, address, self.projects):
                found.append(words)
        if self._store.trouble:
            found.append(f"{self._store.trouble}; workers run on, but what happens is not remembered")
        if self._database.moved_aside:
            found.append(
                f"the history was damaged and begins anew; the old file is {self._database.moved_aside}"
            )
        found += [words for words in (self._capture.problem, self._shell.trouble) if words]
        return tuple(found)

    def _version(self) -> calls.Version:
        hello = self._loop.hello
        return calls.Version(
            version=VERSION,
            protocol=calls.VERSION,
            instance=hello.instance if hello else "",
            engine_pid=os.getpid(),
            keeper_pid=hello.pid if hello and not self._loop.lives.is_lost else 0,
            uptime_seconds=round(time.monotonic() - self._started, 3),
        )


_KEEPER_GONE = (
    "the keeper is gone: what still runs does so until the next one (systemd's, or shiftboss up) has ended it, each"
    " in its own way; then everything starts anew"
)
_MOST_FOLLOWED = 1000
_MOST_LOG_TEXT = 16 * 1024 * 1024  # characters in one answer
_TOO_MUCH_TEXT = "not shown: this is too much at once, ask for fewer logs or lines"
_MOST_LINES = 100_000


def decode_args(request: calls.Request) -> calls.Struct:
    """Return the arguments of a request; raise UserError if they are not what the call takes."""
    call = calls.CALLS.get(request.call)
    if call is None:
        raise UserError(f"there is no call {request.call[:40]!r}", hint=f"Calls: {', '.join(calls.CALLS)}.")
    try:
        return msgspec.json.decode(request.args, type=call.args)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UserError(f"wrong arguments for {request.call}: {str(error)[:200]}") from None


def _is_about(event: Event, target: Target) -> bool:
    if target.unit is None:
        return event.target == target.project or event.target.startswith(f"{target.project}/")
    is_unit = event.target == f"{target.project}/{target.unit}"
    return is_unit and target.process in (None, event.process)
