"""A program with numbered output, for the capture tests: `capture_writer.py NAME SEED COUNT_FILE PAUSE_MS`.

It writes the bytes of `stream(NAME, SEED)` in pieces of any size until SIGTERM, then up to the end of a line,
and puts the number of bytes it has written into COUNT_FILE.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator


def stream(name: str, seed: int, longest: int = 3000) -> Iterator[bytes]:
    """Yield the lines of a writer: its name, a number, its small letter many times."""
    dice = random.Random(seed)
    number = 0
    while True:
        length = dice.choice((0, 5, 60, 60, 60, 60, 200, dice.randrange(longest)))
        if number % 997 == 996:
            length = dice.randrange(60_000, 150_000)
        yield b"%s %08d %s\n" % (name.encode(), number, name.lower().encode() * length)
        number += 1


def main() -> None:
    name, seed, count_file, pause = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    dice, written = random.Random(seed + 1), 0
    rest = b""
    for line in stream(name, seed):
        rest += line
        while len(rest) > 4000 or (stopping and rest):
            piece = rest[: dice.randrange(1, 20_000)]
            done = os.write(1, piece)
            rest, written = rest[done:], written + done
            if pause and dice.random() < 0.3:
                time.sleep(dice.random() * pause / 1000)
        if stopping:
            break
    with open(count_file, "w") as file:
        file.write(str(written))


if __name__ == "__main__":
    main()
