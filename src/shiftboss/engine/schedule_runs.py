"""The runs of schedules as they live: their output framed, the reason of their end found, before it is told."""

from collections.abc import Callable
from functools import partial
from zoneinfo import ZoneInfo

from shiftboss.core import exit_reason
from shiftboss.core.laravel_run import judge_run
from shiftboss.core.run_log import footer, header
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.occurrences import Detail
from shiftboss.engine.shell_port import Shell

OnTold = Callable[[Entry, messages.Exited | messages.Gone, str, bool], None]
Key = tuple[str, int]
_TAIL_LINES, _TASK_LINES = 40, 3000
_MOST_DETAILS = 1000  # while the disk is full
_EXCERPT_LINES, _EXCERPT_CHARACTERS = 20, 2000


class _Run:
    """One run: since when it lives (epoch, monotonic); `untold`: what waits until the reason of its end is found."""

    __slots__ = ("began", "ended", "is_telling", "started", "untold")

    def __init__(self, began: float, started: float) -> None:
        self.began, self.started = began, started
        self.ended = self.is_telling = False
        self.untold: messages.Gone | None = None


class Runs:
    """Calls `told` with each end (why, and whether all went well), and then with the last of it (Gone), in this order."""

    def __init__(self, shell: Shell, zone: ZoneInfo, told: OnTold, on_forgotten: Callable[[], None]) -> None:
        self._shell, self._zone, self._told, self._on_forgotten = shell, zone, told, on_forgotten
        self._runs: dict[Key, _Run] = {}
        self._details: list[Detail] = []

    def any_lives(self) -> bool:
        """Tell whether a run is not forgotten yet."""
        return bool(self._runs)

    def knows(self, address: str, run: int) -> bool:
        """Tell whether a run was told of."""
        return (address, run) in self._runs

    def details(self) -> list[Detail]:
        """Return what is to be kept of runs that have ended since the last call."""
        found, self._details = self._details, []
        return found

    def put_back(self, details: list[Detail]) -> None:
        """Take back what could not be kept: it goes with the next call."""
        self._details = [*details, *self._details][-_MOST_DETAILS:]

    def begin(
        self, entry: Entry, report: messages.Spawned, descriptor: int, began: float, cause: str
    ) -> None:
        """Take note of a run that lives, and capture its output."""
        self._runs[(entry.address, report.run)] = _Run(began, report.started)
        line = header(entry.address, report.run, began, cause, self._zone)
        self._shell.begin_output(entry, report.process, report.run, descriptor, line)

    def take_over(self, entry: Entry, held: messages.Held, descriptor: int, began: float) -> None:
        """Take note of a run that was begun under an engine before us."""
        self._runs[(entry.address, held.run)] = _Run(began, held.started)
        self._shell.begin_output(entry, held.process, held.run, descriptor, "")

    def failed(self, entry: Entry, run: int, words: str) -> None:
        """Write into the log that a run could not be started."""
        self._runs.setdefault((entry.address, run), _Run(self._shell.wall(), self._shell.now())).ended = True
        line = footer(entry.address, run, self._shell.wall(), f"not started: {words}", 0.0, self._zone)
        self._shell.end_output(entry, 0, run, line)

    def take_over_end(self, entry: Entry, held: messages.Held, *, is_news: bool) -> str:
        """Return why a run ended that an engine before us may have told of; `is_news`: it has not."""
        run, ended = self._runs[(entry.address, held.run)], held.exit
        assert ended
        run.ended = True
        ending = exit_reason.Ending(ended.code, ended.sent, held.stopping, ended.core_dumped)
        words = exit_reason.exit_reason(ending, entry.policy.exit_meanings)
        if is_news:
            self._tell_end(entry, held.process, held.run, ended, words)
        return "" if ended.code == 0 and not held.stopping else words

    def exited(self, entry: Entry, report: messages.Exited, *, asked: bool, has_tasks: bool = False) -> None:
        """Find out why a main program has ended, and tell it; once, however often it is said.

        `has_tasks`: the output says how tasks inside have ended (Laravel's scheduler exits with 0 whatever they do).
        """
        run = self._runs.get((entry.address, report.run))
        if run is None or run.ended:
            return
        run.ended = run.is_telling = True
        found = partial(self._found, entry, report, asked, has_tasks)
        if not has_tasks and (asked or report.exit.code == 0):
            found([])
        else:
            count = _TASK_LINES if has_tasks else _TAIL_LINES
            self._shell.tail_output(entry, report.process, report.run, count, found)

    def gone(self, entry: Entry, report: messages.Gone) -> None:
        """Tell that nothing of a run is left, after its end."""
        run = self._runs.get((entry.address, report.run))
        if run and run.is_telling:
            run.untold = report
        else:
            self._told(entry, report, "", True)

    def forget(self, entry: Entry, lane: int, run: int) -> None:
        """Read what is left of the output, then let the keeper forget the run."""
        done = partial(self._forgotten, entry.address, lane, run)
        self._shell.finish_output(entry, lane, run, done)

    def _forgotten(self, address: str, lane: int, run: int) -> None:
        self._runs.pop((address, run), None)
        self._shell.send(messages.Forget(address, lane, run))
        self._on_forgotten()

    def _found(
        self, entry: Entry, report: messages.Exited, asked: bool, has_tasks: bool, lines: list[str]
    ) -> None:
        run = self._runs[(entry.address, report.run)]
        ended = report.exit
        ending = exit_reason.Ending(ended.code, ended.sent, asked, ended.core_dumped, lines)
        words = exit_reason.exit_reason(ending, entry.policy.exit_meanings)
        inside = judge_run("\n".join(lines), ended.code).words if has_tasks else ""
        if inside:
            words = f"{words}; {inside}" if ended.code else inside
        is_well = ended.code == 0 and not inside
        excerpt = "" if is_well else "\n".join(lines[-_EXCERPT_LINES:])[-_EXCERPT_CHARACTERS:]
        self._details.append(Detail(entry.address, report.run, ended.max_rss_bytes, excerpt))
        self._tell_end(entry, report.process, report.run, ended, words)
        run.is_telling = False
        self._told(entry, report, "" if is_well and not asked else words, is_well)
        if run.untold:
            self._told(entry, run.untold, "", True)

    def _tell_end(self, entry: Entry, lane: int, number: int, ended: messages.Exit, words: str) -> None:
        """Write into the log how a run has ended."""
        run = self._runs[(entry.address, number)]
        seconds = ended.at - run.started
        line = footer(entry.address, number, run.began + seconds, words, seconds, self._zone)
        self._shell.end_output(entry, lane, number, line)
