"""The newsletter: one slow task, and the queue it waits in."""

import os
import time
from email.message import EmailMessage
from pathlib import Path

from huey import SqliteHuey

# app.py lies in PROJECT/releases/N: what outlives a release lies beside the releases
SHARED = Path(os.environ.get("NEWSLETTER_SHARED") or Path(__file__).resolve().parents[2] / "shared")
OUTBOX = SHARED / "outbox"
OUTBOX.mkdir(parents=True, exist_ok=True)

huey = SqliteHuey("newsletter", filename=str(SHARED / "queue.db"))


@huey.task(retries=3, retry_delay=1)
def send_email(number: int) -> None:
    """Write e-mail `number` into the outbox; it is there only when it is complete."""
    message = EmailMessage()
    message["To"] = f"reader-{number}@example.org"
    message["Subject"] = "News"
    message.set_content(f"This is e-mail {number}, sent by process {os.getpid()}.\n")
    time.sleep(0.05)  # stands for a mail server that takes its time
    unfinished = OUTBOX / f".{number}.tmp"
    unfinished.write_bytes(bytes(message))
    unfinished.rename(OUTBOX / f"{number}.eml")
    print(f"sent e-mail {number} to {message['To']}", flush=True)
