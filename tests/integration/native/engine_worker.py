"""A worker that writes numbered lines, ends when it likes, and keeps a ledger of what happened to it.

engine_worker.py DIRECTORY LEAST_SECONDS MOST_SECONDS LINES_PER_SECOND. A second copy of the same process finds the
lock taken and says so in the ledger.
"""

import fcntl
import os
import random
import signal
import sys
import time

directory, least, most, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
_, _, unit, process, run = os.environ["SHIFTBOSS_RUN"].split("/")
name = f"{process}.{run}.{os.getpid()}"  # a pid alone may be another's, minutes later on a busy machine
ledger = os.open(f"{directory}/ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append("term"))


def note(what: str, count: int = 0) -> None:
    os.write(ledger, f"{what} {unit} {process} {run} {name} {count}\n".encode())


lock = os.open(f"{directory}/lock.{unit}.{process}", os.O_RDWR | os.O_CREAT, 0o666)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("double")
    sys.exit(9)
note("start")
end = time.monotonic() + random.uniform(least, most)
count = 0
while not asked and time.monotonic() < end:
    os.write(1, f"{name} {count:08d} {'x' * 50}\n".encode())
    count += 1
    time.sleep(1 / rate)
note("asked" if asked else "own", count)
sys.exit(0 if asked else random.choice((0, 1, 7)))
