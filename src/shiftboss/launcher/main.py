"""`shiftboss-exec [--orders DIR] [--from-zero | --run SPOOL [--asked NAME]] PROJECT/UNIT[:PROCESS]`: confines itself and becomes the program of that unit.

For backends that cannot limit or isolate (Supervisor, cron): they start this as root. What to run, as whom and with
which limits is in a root-owned file (`DIR/<project>.json`); nothing a project user controls is read before
the drop to that user. Nothing of ours stays: the pid is the program's, signals go straight to it.

With `--run` (cron) it stays: it locks, logs, ends what takes too long, and writes into SPOOL what became of the run.
`--asked`: it is not cron that starts it, but NAME (`shiftboss run`), who is told on stdout which run it becomes.

A worker's process has a number. If anything of its last run still lives, it is killed first: never two copies.
A run without a number (a schedule) is beside those before it. `--from-zero`: the first process is written 0, as
Supervisor counts.

Quickest (no console script in between): `python -I -S …/shiftboss/launcher/main.py`. Exit status, as with env(1):
127 the command was not found, 126 it cannot be executed, 125 something before that failed.
"""

import os
import sys

if __name__ == "__main__":  # started by path: -I has taken our directory off, -S the packages
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from shiftboss.confine.steps import StepError
from shiftboss.launcher.order import Address, Order, OrderError, read_order

ORDERS = "/var/lib/shiftboss/launch"
USAGE = "usage: shiftboss-exec [--orders DIRECTORY] [--from-zero | --run SPOOL [--asked NAME]] PROJECT/UNIT[:PROCESS]"
NOT_FOUND, NOT_EXECUTABLE, OUR_FAILURE = 127, 126, 125


def main() -> None:
    """Become the program; exit 125 to 127 with one line on stderr if that fails."""
    directory, first, spool, who, words = _parsed(sys.argv[1:])
    shown = words[0][:80]
    try:
        address = Address(words[0], first)
        if spool:
            _run(directory, address, spool, who)
        else:
            _launch(read_order(directory, address), address)
    except OrderError as error:
        raise _failed(f"shiftboss-exec: {shown}: {error}", OUR_FAILURE) from None
    except StepError as failed:
        words_of_step = f"shiftboss-exec: {shown}: {failed} (step {failed.step})"
        raise _failed(words_of_step, status_of(failed)) from None


def _parsed(words: "list[str]") -> "tuple[str, int, str, str, list[str]]":
    """Return the orders, the number of the first process, the spool, who asks, and the address; exits if that is wrong."""
    directory, first, spool, who = ORDERS, 1, "", ""
    if words[:1] == ["--orders"] and len(words) > 2:
        directory, words = words[1], words[2:]
    if words[:1] == ["--from-zero"]:
        first, words = 0, words[1:]
    if words[:1] == ["--run"] and len(words) > 2:
        spool, words = words[1], words[2:]
    if spool and words[:1] == ["--asked"] and len(words) > 2:
        who, words = words[1], words[2:]
    if len(words) != 1:
        raise _failed(USAGE, OUR_FAILURE)
    return directory, first, spool, who, words


def _run(directory: str, address: Address, spool: str, who: str) -> None:
    from shiftboss.launcher.occasion import Occasion
    from shiftboss.launcher.run import note_failure, run

    occasion = Occasion(directory, address, who)
    try:
        try:
            run(read_order(directory, address), address, spool, occasion)
        except OrderError as error:
            note_failure(spool, address, occasion, str(error))
            raise
    except OSError as error:
        words = f"shiftboss-exec: {address.text}: cannot write down what becomes of it: {error}"
        raise _failed(words, OUR_FAILURE) from None


def _launch(order: Order, address: Address) -> None:
    from shiftboss.launcher.become import become

    become(order, address)


def status_of(failed: StepError) -> int:
    """Return the exit status for a failed step (127: there is nothing to run, see env(1))."""
    import errno

    if failed.step in ("command", "directory") and failed.number in (errno.ENOENT, errno.ENOTDIR):
        return NOT_FOUND
    return NOT_EXECUTABLE if failed.step in ("command", "exec") else OUR_FAILURE


def _failed(words: str, status: int) -> SystemExit:
    """Say why on one line, and return the exit."""
    try:
        os.write(2, (" ".join(words.split()) + "\n").encode(errors="replace"))
    except OSError:
        return SystemExit(status)
    return SystemExit(status)


if __name__ == "__main__":
    main()
