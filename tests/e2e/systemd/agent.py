"""Guest side of a virtual machine under test: answers requests on a virtio serial port, one JSON line each.

A request is {"id", "argv", "timeout", "input" (base64)}, its answer {"id", "status", "output" (base64)}. Standard
library only: it runs on the Python of the machine under test.
"""

import base64
import json
import os
import subprocess
import sys
import time

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAX_OUTPUT = 4_000_000


def serve(port: int) -> None:
    """Answer until the machine stops."""
    waiting = b""
    while True:
        try:
            chunk = os.read(port, 1 << 20)
        except OSError:
            chunk = b""
        if not chunk:  # nobody on the other side
            time.sleep(0.05)
        waiting += chunk
        *lines, waiting = waiting.split(b"\n")
        for line in filter(None, lines):
            _send(port, json.dumps(_answer(json.loads(line))).encode() + b"\n")


def _answer(request: dict[str, object]) -> dict[str, object]:
    status, output = _run(request)
    return {"id": request["id"], "status": status, "output": base64.b64encode(output[-_MAX_OUTPUT:]).decode()}


def _run(request: dict[str, object]) -> tuple[int, bytes]:
    try:
        ended = subprocess.run(
            request["argv"],
            input=base64.b64decode(request["input"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["timeout"],
            env={"PATH": _PATH, "HOME": "/root", "TERM": "dumb"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return 124, error.output or b""
    except OSError as error:
        return 127, str(error).encode()
    return ended.returncode, ended.stdout


def _send(port: int, line: bytes) -> None:
    while line:
        line = line[os.write(port, line) :]


if __name__ == "__main__":
    serve(os.open(sys.argv[1], os.O_RDWR))
