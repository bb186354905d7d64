"""From a decoded request to its answer: the calls that only read are answered here, the others go into the inbox."""

import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Event, LogLines, LogTails
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.names import Target, parse_target
from shiftboss.engine.answers import StatusReport
from shiftboss.engine.capture import Capture
from shiftboss.engine.database import Database
from shiftboss.engine.hub import Hub
from shiftboss.engine.loop import Asked, Loop
from shiftboss.engine.shell import RealShell
from shiftboss.engine.store import Store
from shiftboss.version import VERSION


class Client(Protocol):
    """The connection that a request came from."""

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

    def at_once(self, call: str, request: calls.Struct) -> Answer | None:
        """Answer a call that only looks at memory; None: it is not one of these."""
        match call, request:
            case "ping", _:
                return calls.Done()
            case "version", _:
                return self._version()
            case "status", calls.Select() as select:
                return self._status(select)
        return None

    def post(self, client: Client, request_id: int, call: str, request: calls.Struct) -> None:
        """Put a call that changes something into the inbox."""

        def reply(answer: Answer) -> None:
            client.reply(request_id, answer)

        def refuse(error: ShiftbossError) -> None:
            client.refuse(request_id, error)

        self._loop.post(Asked(call, request, client.who, reply, refuse))

    def events(self, client: Client, request_id: int, select: calls.Select) -> None:
        """Begin to send events; `client.on_end` ends it."""
        wanted = [parse_target(target) for target in select.targets]

        def listen(event: Event) -> None:
            if not wanted or any(_is_about(event, target) for target in wanted):
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

    async def logs(self, query: calls.Logs) -> LogTails:
        """Read the last lines of logs."""
        units = self._loop.fleet.select_units(query.targets)
        return LogTails(logs=tuple([await self._tail(unit.address, query.lines) for unit in units]))

    async def _tail(self, entry: str, lines: int) -> LogLines:
        try:
            return LogLines(target=entry, lines=tuple(await self._capture.tail(entry, lines)))
        except HostError as error:
            return LogLines(target=entry, trouble=error.message)

    def followed(self, query: calls.Logs) -> list[AsyncIterator[LogLines]]:
        """Return a stream of lines for each selected log."""
        units = self._loop.fleet.select_units(query.targets)
        if len(units) > _MOST_FOLLOWED:
            raise UserError(
                f"cannot follow {len(units)} logs at once", hint=f"Name at most {_MOST_FOLLOWED} units."
            )
        return [self._follow(unit.address, query.lines) for unit in units]

    async def _follow(self, entry: str, backlog: int) -> AsyncIterator[LogLines]:
        follower = self._capture.subscribe(entry, backlog)
        try:
            async for line in follower:
                yield LogLines(target=line.entry, lines=(line.text,), process=line.process, lost=line.lost)
        finally:
            follower.close()

    def _status(self, select: calls.Select) -> calls.Status:
        fleet = self._loop.fleet
        slots = fleet.select(select.targets)
        if not select.targets:  # who waits until something is gone must see it
            slots = sorted([*slots, *fleet.leaving()], key=lambda slot: slot.key)
        reports = self._capture.report()
        troubled = {entry: log.problem for log in reports if log.problem for entry in log.entries}
        found = StatusReport(fleet, self._shell, troubled, with_use=select.usage).of(slots, self.troubles())
        hello = self._loop.hello
        return replace(found, controllers=hello.controllers) if hello else found

    def troubles(self) -> tuple[str, ...]:
        """Return what is wrong with the backend itself, as sentences."""
        hello = self._loop.hello
        found = list(hello.degraded) if hello else []
        if self._loop.lives.is_closing:
            found.append("everything is being stopped")
        found += [f"manifest {file}: {words}" for file, words in self._loop.fleet.manifest_errors.items()]
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
            keeper_pid=hello.pid if hello else 0,
            uptime_seconds=round(time.monotonic() - self._started, 3),
        )


_MOST_FOLLOWED = 1000


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
