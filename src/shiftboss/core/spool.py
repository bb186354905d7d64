"""What became of the runs that cron started, read from what `launcher/spool.py` wrote: root's own account of them."""

from collections.abc import Callable, Iterable

import msgspec

from shiftboss.core.facts import Launcher, SpooledRun
from shiftboss.core.spec import Schedule

_SIGNALLED = 128
_ENDINGS = {"timed_out": "timed_out"}
_EXCERPT_LINES, _EXCERPT_CHARACTERS = 20, 2000


class _Line(msgspec.Struct):
    run: int
    due: int | None = None
    cause: str = ""
    began: float | None = None
    pid: int = 0
    since: int = 0
    boot: str = ""
    outcome: str = ""
    ended: float | None = None
    code: int = 0
    memory: int | None = None
    kills: int = 0
    own_limit: int = 0
    limit: int | None = None
    peak: int | None = None
    ending: str = ""
    reason: str = ""
    trouble: str = ""
    output: str = ""


def read_spool(text: str, schedule: Schedule, lives: Callable[[Launcher], bool]) -> tuple[SpooledRun, ...]:
    """Return the occurrences of a schedule, oldest first. A line that a crash has cut off is passed over."""
    begun: dict[int, _Line] = {}
    found: dict[int, SpooledRun] = {}
    for line in _lines(text):
        if line.began is not None:
            begun[line.run] = line
        else:
            found[line.run] = _told(line, begun.pop(line.run, None), schedule)
    for run, line in begun.items():
        found[run] = _untold(line, lives)
    return tuple(found[run] for run in sorted(found))


def _lines(text: str) -> Iterable[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    for line in text.splitlines():
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError:
            continue


def _told(line: _Line, start: _Line | None, schedule: Schedule) -> SpooledRun:
    if line.ended is None:
        outcome = line.outcome or "unknown"
        return SpooledRun(line.run, line.due or 0, outcome, line.reason, cause=line.cause)
    outcome, reason = _judged(line, schedule)
    if line.trouble:
        reason = f"{reason}; {line.trouble}" if reason else line.trouble
    ended = int(line.ended)
    return SpooledRun(
        line.run,
        start.due or 0 if start else ended - ended % 60,
        outcome,
        reason,
        start.began if start else None,
        line.ended,
        line.code if line.code >= 0 else _SIGNALLED - line.code,
        line.memory,
        "" if outcome == "ran" else _excerpt(line.output),
        start.cause if start else "",
    )


def _judged(line: _Line, schedule: Schedule) -> tuple[str, str]:
    """Return outcome and reason of a run that has ended."""
    if line.ending:
        return _ENDINGS.get(line.ending, "failed"), line.reason
    inside = _inside(line) if schedule.policy.asks_inside else ""
    if line.code == 0:
        return ("failed", inside) if inside else ("ran", "")
    from shiftboss.core.exit_reason import Ending, Starved, exit_reason  # most runs succeed

    starved = Starved(line.kills, bool(line.own_limit), line.limit, line.peak) if line.kills else None
    words = exit_reason(Ending(line.code, lines=line.output.splitlines(), starved=starved), {})
    return "failed", f"{words}; {inside}" if inside else words


def _inside(line: _Line) -> str:
    """Return what of the tasks inside a Laravel scheduler has failed."""
    from shiftboss.core.laravel_run import judge_run

    return judge_run(line.output, line.code).words


def _untold(line: _Line, lives: Callable[[Launcher], bool]) -> SpooledRun:
    """Return a run whose end nobody has written down: it still lives, or who watched over it has died."""
    is_alive = lives(Launcher(line.pid, line.since, line.boot))
    reason = "" if is_alive else "its launcher ended before it could tell: killed, or the server went down"
    outcome = None if is_alive else "unknown"
    return SpooledRun(line.run, line.due or 0, outcome, reason, line.began, cause=line.cause)


def _excerpt(output: str) -> str:
    return "\n".join(output.splitlines()[-_EXCERPT_LINES:])[-_EXCERPT_CHARACTERS:]
