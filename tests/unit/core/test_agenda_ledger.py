"""Batches that a slow disk answers late: several are under way, and what is newest stays."""

from shiftboss.core.agenda_ledger import RETRY_SECONDS, Ledger
from shiftboss.core.agenda_values import Mark, NotStored, Save
from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_values import Alert, Begin

RUNNING = Row("p/a", 1, 60, 60, stage="running", run=2)
RAN = RUNNING._replace(stage="", outcome="ran")
OTHER = Row("p/b", 1, 60, 60, stage="running", run=2)


def batch(ledger: Ledger, mark: int, *rows: Row) -> Save:
    """Return a batch that a start waits for: only such a one does not wait for the one before."""
    for row in rows:
        ledger.row(row)
    ledger.mark(Mark("p/a", mark, 1))
    ledger.after(Begin("p/c", 1, mark))
    (save,) = ledger.close_batch(0.0)
    assert isinstance(save, Save)
    return save


def test_an_older_row_of_a_batch_that_failed_is_not_written_behind_a_newer_one() -> None:
    ledger = Ledger()
    first, second = batch(ledger, 60, RUNNING, OTHER), batch(ledger, 120, RAN)
    told = ledger.not_stored(NotStored(first.batch, "the disk does not answer"), 0.0)
    assert [type(each) for each in told] == [Begin, Alert]
    ledger.stored(second.batch)
    (again,) = ledger.close_batch(RETRY_SECONDS)
    assert isinstance(again, Save)
    assert (again.rows, again.marks) == ((OTHER,), ())


def test_the_newer_row_is_written_again_if_its_batch_fails_too() -> None:
    ledger = Ledger()
    for each in (batch(ledger, 60, RUNNING), batch(ledger, 120, RAN)):
        ledger.not_stored(NotStored(each.batch, "the disk does not answer"), 0.0)
    (again,) = ledger.close_batch(RETRY_SECONDS)
    assert isinstance(again, Save)
    assert again.rows == (RAN,)
    assert [mark.mark for mark in again.marks] == [120]
