"""The engine process: `python -m shiftboss.engine.main --keeper-fd N --state DIR`, started by the keeper.

It ends with 0 after an orderly end (the keeper is stopping, or SIGTERM) and with 70 after an internal error; the
keeper starts it again, and nothing but a moment of logging and deciding is missed.
"""

import json
import logging
import os
import signal
import socket
import sys

log = logging.getLogger(__name__)

OK, USAGE, BUG = 0, 2, 70


class JsonLines(logging.Formatter):
    """One JSON object a line: for machines the fields of `extra`, for people the message."""

    _OWN = frozenset(vars(logging.makeLogRecord({})))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        fields = {
            "at": round(record.created, 3),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in self._OWN}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def _options(argv: list[str]) -> tuple[int, str]:
    """Read the command line; tell the usage and raise SystemExit."""  # argparse would cost 12 ms and 1 MB
    values = dict(zip(argv[::2], argv[1::2], strict=False))
    if len(argv) != 4 or values.keys() != {"--keeper-fd", "--state"} or not values["--keeper-fd"].isdecimal():
        sys.stderr.write("usage: shiftboss.engine.main --keeper-fd N --state DIR (the keeper starts it)\n")
        raise SystemExit(USAGE)
    return int(values["--keeper-fd"]), values["--state"]


def main(argv: list[str]) -> int:
    """Be the engine; return the exit status."""
    keeper_fd, state = _options(argv)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    output = logging.StreamHandler()
    output.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[output])
    # asyncio imports ssl if it can and does without if it cannot: that saves 4 MB and 15 ms
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]  # as the import system spells "not to be had"
    # everything is imported before root is given up: where we come from may be closed to who we become
    from shiftboss.engine import privilege, wiring

    privilege.raise_descriptor_limit()
    privilege.give_up_root(state)
    wiring.serve(socket.socket(fileno=keeper_fd), state)
    return OK


def run() -> None:
    """Be the engine and end without waiting for threads that hang with a disk."""
    status = BUG
    try:
        status = main(sys.argv[1:])
    except Exception:
        log.exception("the engine ends by an internal error", extra={"event": "engine_failed"})
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else BUG
    finally:
        logging.shutdown()
        os._exit(status)


if __name__ == "__main__":
    run()
