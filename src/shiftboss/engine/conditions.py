"""The commands that are asked whether a schedule may run (`only_if`)."""

from collections.abc import Callable
from functools import partial

from shiftboss.core import exit_reason
from shiftboss.core.schedule_entry import schedule_of
from shiftboss.core.wire import messages
from shiftboss.core.wire.entry import Entry
from shiftboss.engine.shell_port import Shell

ANSWER_SECONDS = 60.0
"""A condition that has not answered by then is taken for a no."""
OnChecked = Callable[[str, int, str], None]
Key = tuple[str, int, int]


class Conditions:
    """Asks, and calls `told` once for each question: schedule, run, and why not ("" for yes)."""

    def __init__(self, shell: Shell, told: OnChecked) -> None:
        self._shell, self._told = shell, told
        self._asked: dict[Key, Callable[[], None]] = {}  # what stops the wait
        self._living: set[Key] = set()

    def any_lives(self) -> bool:
        """Tell whether one runs."""
        return bool(self._living)

    def ask(self, address: str, lane: int, run: int) -> None:
        """Start the command."""
        key = (address, lane, run)
        self._asked[key] = self._shell.after(ANSWER_SECONDS, partial(self._too_late, key))
        self._living.add(key)
        self._shell.send(messages.Spawn(*key))

    def report(
        self,
        entry: Entry,
        report: messages.Spawned | messages.Exited | messages.Gone | messages.SpawnFailed | messages.Held,
        descriptor: int,
    ) -> None:
        """Take what the keeper says of one."""
        key = (report.entry, report.process, report.run)
        match report:
            case messages.Spawned() | messages.Held():
                self._lives(entry, report, descriptor)
            case messages.Exited():
                code = report.exit.code
                ending = exit_reason.Ending(code, report.exit.sent)
                self._answer(key, "" if code == 0 else exit_reason.exit_reason(ending, {}))
                self._gone(entry, key) if report.gone else self._shell.send(messages.Kill(*key))
            case messages.SpawnFailed():
                self._answer(key, exit_reason.spawn_reason(report.step, report.errno, report.words))
                self._living.discard(key)
                self._shell.send(messages.Forget(*key))
            case messages.Gone():
                self._gone(entry, key)

    def _lives(self, entry: Entry, report: messages.Spawned | messages.Held, descriptor: int) -> None:
        key = (report.entry, report.process, report.run)
        if descriptor >= 0:
            self._shell.attach(entry, report.process, report.run, descriptor)
        is_over = isinstance(report, messages.Held) and report.gone
        if is_over:
            self._gone(entry, key)
        elif key not in self._asked:  # an engine before us asked; it is asked again
            self._living.add(key)
            self._shell.send(messages.Kill(*key))

    def _too_late(self, key: Key) -> None:
        self._answer(key, f"the condition did not answer within {ANSWER_SECONDS:.0f} s")
        self._shell.send(messages.Kill(*key))

    def _answer(self, key: Key, words: str) -> None:
        if stop_waiting := self._asked.pop(key, None):
            stop_waiting()
            self._told(schedule_of(key[0]), key[2], words)

    def _gone(self, entry: Entry, key: Key) -> None:
        self._living.discard(key)
        self._shell.finish(entry, key[1], key[2], partial(self._shell.send, messages.Forget(*key)))
