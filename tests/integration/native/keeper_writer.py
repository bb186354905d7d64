"""A worker under torture: numbered lines, a count of them, and a crash now and then.

Usage: keeper_writer.py DIRECTORY STEADY LINES. Processes with a number above STEADY exit with status 3 after so many
lines. The count file holds what was written for certain; `starts` gets a line for each start.
"""

import os
import signal
import sys
import time

directory, steady, lines = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_, project, unit, process, run = os.environ["SHIFTBOSS_RUN"].split("/")
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
starts = os.open(f"{directory}/starts", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
os.write(starts, f"{process} {run} {os.getpid()}\n".encode())
count = os.open(f"{directory}/count-{process}-{run}", os.O_WRONLY | os.O_CREAT, 0o666)
number = 0
while not ending and (int(process) <= steady or number < lines):
    line = f"{process} {run} {number:09d} {'x' * (number % 100)}\n".encode()
    sent = 0
    while sent < len(line):
        sent += os.write(1, line[sent:])
    number += 1
    os.pwrite(count, b"%d" % number, 0)
    time.sleep(0.001)
sys.exit(3 if not ending else 0)
