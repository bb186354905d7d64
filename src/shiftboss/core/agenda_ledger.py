"""What has to be on disk before something may be done: batches, and the effects that wait for them."""

from collections.abc import Iterable

from shiftboss.core.agenda_values import Mark, NotStored, Outgoing, Save
from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_values import Alert, Begin, Forget

RETRY_SECONDS = 5.0
_After = Begin | Forget


class Ledger:
    """Collects rows and marks, makes one batch of them, and holds back what may only follow it.

    A batch that could not be written is not lost: its rows go into a later one. Starts do not wait for that
    (a full disk must not stop the job that makes room), but runs are not forgotten before.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], Row] = {}
        self._marks: dict[str, Mark] = {}
        self._after: list[_After] = []
        self._batches: dict[int, tuple[Save, tuple[_After, ...]]] = {}
        self._batch = 0
        self._is_unwritten = False
        self.retry_at: float | None = None

    def row(self, row: Row) -> None:
        """Take a row; a later one of its key takes its place."""
        self._rows[(row.address, row.number)] = row

    def mark(self, mark: Mark) -> None:
        """Take what is kept of a schedule itself."""
        self._marks[mark.address] = mark

    def after(self, effect: _After) -> None:
        """Hold this back until everything that was taken so far is on disk."""
        self._after.append(effect)

    def close_batch(self, mono: float) -> list[Outgoing]:
        """Return the batch of what was taken, if anything was; and what need not wait for one."""
        waits = self.retry_at is not None and mono < self.retry_at
        is_new = any(isinstance(effect, Begin) for effect in self._after)
        if (waits or self._batches) and not is_new:
            return []  # what comes while a batch is written becomes one batch when that is done
        if not (self._rows or self._marks):
            return list(self._without_batch())
        self.retry_at = None
        self._batch += 1
        rows, marks = tuple(self._rows.values()), tuple(self._marks.values())
        save = Save(self._batch, rows, marks, urgent=is_new)
        self._batches[self._batch] = (save, tuple(self._after))
        self._rows, self._marks, self._after = {}, {}, []
        return [save]

    def withdraw(self) -> list[Begin]:
        """Take back the starts that were not let go yet, and return them: these runs are never started."""
        found = [effect for effect in self._after if isinstance(effect, Begin)]
        self._after = [effect for effect in self._after if not isinstance(effect, Begin)]
        for batch, (save, held) in self._batches.items():
            found += [effect for effect in held if isinstance(effect, Begin)]
            self._batches[batch] = (save, tuple(e for e in held if not isinstance(e, Begin)))
        return found

    def _without_batch(self) -> Iterable[_After]:
        """Let go what waits for nothing: its rows may be in the last batch that is under way."""
        effects, self._after = tuple(self._after), []
        if not self._batches:
            return effects
        last = max(self._batches)
        save, held = self._batches[last]
        self._batches[last] = (save, (*held, *effects))
        return ()

    def stored(self, batch: int) -> tuple[_After, ...]:
        """Return what may be done now."""
        self._is_unwritten = False
        _, held = self._batches.pop(batch, (None, ()))
        return held

    def _take_back(self, batch: int, save: Save) -> None:
        """Take rows and marks of a batch again, but for those that are newer here or in a batch that is under way.

        That one may be written before the next: an older row behind it would undo it.
        """
        newer = [later for number, (later, _) in self._batches.items() if number > batch]
        rows = {(row.address, row.number) for later in newer for row in later.rows} | self._rows.keys()
        marks = {mark.address for later in newer for mark in later.marks} | self._marks.keys()
        self._rows |= {key: row for row in save.rows if (key := (row.address, row.number)) not in rows}
        self._marks |= {mark.address: mark for mark in save.marks if mark.address not in marks}

    def not_stored(self, event: NotStored, mono: float) -> list[Outgoing]:
        """Take back what could not be written, and return what is done all the same."""
        save, held = self._batches.pop(event.batch, (None, ()))
        if save is None:
            return []
        self._take_back(event.batch, save)
        self._after = [*(e for e in held if isinstance(e, Forget)), *self._after]
        self.retry_at = mono + RETRY_SECONDS
        starts: list[Outgoing] = [effect for effect in held if isinstance(effect, Begin)]
        if not self._is_unwritten:
            self._is_unwritten = True
            words = f"cannot write the history: {event.words}; schedules go on, and it is tried again"
            starts.append(Alert("unwritten", "", words))
        return starts
