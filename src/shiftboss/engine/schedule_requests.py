"""What api clients may want of schedules: pause, resume, run now, end what runs."""

from collections.abc import Callable

from shiftboss.api import calls
from shiftboss.api.calls import Answer, Event
from shiftboss.core.agenda_values import Asked, Tick
from shiftboss.core.errors import HostError, UserError
from shiftboss.core.names import suggest
from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_values import Paused, Resumed, RunNow, StopRuns
from shiftboss.engine.lives import Lives
from shiftboss.engine.schedules import Schedules
from shiftboss.engine.shell_port import Shell

Reply = Callable[[Answer], None]


class ScheduleRequests:
    """Carries out requests. Raises UserError or HostError at once; else `reply` is called, now or later."""

    def __init__(self, shell: Shell, schedules: Schedules, lives: Lives) -> None:
        self.uid: int | None = None  # whose request is being carried out
        self._shell, self._schedules, self._lives = shell, schedules, lives

    def carry_out(self, call: str, request: calls.Struct, who: str, reply: Reply) -> None:
        """Do what a call of the table asks for."""
        if self._lives.is_closing:
            raise HostError("everything is being stopped", hint="Start shiftboss again first.")
        match call, request:
            case "run", calls.RunNow():
                self._run(request, who, reply)
            case "pause", calls.Select(targets):
                self._each(targets, "pause", Paused(who), who, reply)
            case "resume", calls.Select(targets):
                self._each(targets, "resume", Resumed(who), who, reply)
            case "stop_runs", calls.Select(targets):
                self._each(targets, "stop runs", StopRuns(who), who, reply)
            case _:
                raise AssertionError(f"no such call: {call}")

    def _each(
        self, targets: tuple[str, ...], verb: str, event: Paused | Resumed | StopRuns, who: str, reply: Reply
    ) -> None:
        for address in self.chosen(targets):
            self._note(address, verb, who)
            self._schedules.take(Asked(address, event))
        reply(calls.Done())

    def chosen(self, targets: tuple[str, ...]) -> list[str]:
        """Return the schedules that addresses mean; raise UserError for one that means none."""
        return chosen(self._schedules.addresses(), targets)

    def _run(self, request: calls.RunNow, who: str, reply: Reply) -> None:
        [address] = self.chosen((request.target,)) if "/" in request.target else [request.target]
        if "/" not in address:
            raise UserError(f"{address} is not one schedule", hint="Name one, such as myapp/backup.")
        self._note(address, "run", who)
        schedules = self._schedules
        schedules.take(Tick())  # a time that has just come gets the next number first
        track = schedules.agenda.track(address) if schedules.agenda else None
        assert track
        number = track.counter + 1  # what is made due next
        schedules.take(Asked(address, RunNow(f"by {who}")))
        last = schedules.last.get(address)
        if last and last.number == number:
            reply(_ran(last))
        elif request.wait_seconds <= 0:
            reply(calls.Ran(number=number, run=schedules.run_of(address, number)))
        else:
            self._wait(address, number, request.wait_seconds, reply)

    def _wait(self, address: str, number: int, seconds: float, reply: Reply) -> None:
        is_answered: list[bool] = []

        def answer(ran: calls.Ran) -> None:
            if not is_answered:
                is_answered.append(True)
                stop_waiting()
                reply(ran)

        stop_waiting = self._shell.after(seconds, lambda: answer(calls.Ran(number=number)))
        self._schedules.wait_for(address, number, lambda row: answer(_ran(row)))

    def _note(self, address: str, verb: str, who: str) -> None:
        at = self._shell.wall()
        event = Event(at=at, kind="asked", target=address, reason=verb, who=who or None, uid=self.uid)
        self._shell.record(event)
        self._shell.publish(event)
        self._shell.flush()


def chosen(known: list[str], targets: tuple[str, ...]) -> list[str]:
    """Return the schedules among `known` that addresses mean (none: all); raise UserError for one that means none."""
    if not targets:
        return known
    found: list[str] = []
    for target in targets:
        meant = [a for a in known if a == target or a.startswith(f"{target}/")]
        if not meant:
            # only of the same project: who asks may not know of others
            near = suggest(target, [a for a in known if a.startswith(f"{target.partition('/')[0]}/")])
            raise UserError(
                f"no schedule {target} runs here{near}", hint="See what is scheduled with: shiftboss next"
            )
        found += meant
    return sorted(set(found))


def _ran(row: Row) -> calls.Ran:
    return calls.Ran(
        number=row.number, run=row.run, outcome=row.outcome, reason=row.reason, exit_status=row.exit_status
    )
