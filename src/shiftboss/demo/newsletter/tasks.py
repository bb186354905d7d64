"""The slow work, and the queue it waits in. Run it with: huey_consumer tasks.huey"""

import logging
import threading
import time

import outbox
from huey import SqliteHuey

outbox.prepare()
log = logging.getLogger("huey.newsletter")
huey = SqliteHuey("newsletter", filename=str(outbox.SHARED / "queue.db"))


@huey.task()
def send_newsletter(first: int, last: int) -> None:
    """Put e-mails on the queue one by one, so that all workers share them."""
    for number in range(first, last + 1):
        send_email(number)
    log.info("queued e-mails %d to %d", first, last)


@huey.task()
def send_email(number: int) -> None:
    """Send one e-mail, unless it is sent or in other hands."""
    if outbox.take(number):
        time.sleep(0.05)  # stands for a mail server that takes its time
        outbox.send(number)
        log.info("sent e-mail %d", number)


_resumed = threading.Lock()


@huey.on_startup()
def resume() -> None:
    """Queue again what a killed process had in hand: huey takes a task off the queue before it is done."""
    if not _resumed.acquire(blocking=False):  # huey calls this in each of its threads
        return
    # first out of the dead hands, then a look at the queue: what another worker takes off it in between, it can send
    abandoned = outbox.abandoned()
    waiting = {task.args[0] for task in huey.pending() if task.name == "send_email"}
    lost = [number for number in abandoned if number not in waiting]
    for number in lost:
        send_email(number)
    if lost:
        log.info("took over %d e-mails of a process that is gone", len(lost))
