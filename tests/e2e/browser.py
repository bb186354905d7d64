"""Debian's Chromium without a window, driven through its own debugging pipe: no package is needed for it."""

import base64
import json
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ARGUMENTS = (
    "--headless=new", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings",
    "--proxy-server=direct://", "--window-size=900,900",
)  # fmt: skip
_ANSWER_SECONDS = 30


class Browser:
    """One tab. Commands are those of the DevTools protocol, JSON that ends with a NUL."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._received = b""
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its result; events in between are passed over."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (answer := self._next(deadline)).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self, deadline: float) -> dict[str, Any]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\0" not in self._received:
                assert selector.select(max(deadline - time.monotonic(), 0)), "Chromium does not answer"
                chunk = os.read(self._answers, 1 << 16)
                assert chunk, "Chromium has ended"
                self._received += chunk
        first, _, self._received = self._received.partition(b"\0")
        found: dict[str, Any] = json.loads(first)
        return found

    def open(self, url: str) -> None:
        """Go to a page, with JavaScript unless `without_javascript` was called."""
        failed = self.call("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"

    def without_javascript(self) -> None:
        """Run no scripts of pages from now on."""
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        found = f"JSON.stringify(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        box = json.loads(self.ask(found))
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def chromium(directory: Path) -> Iterator[Browser]:
    """Run a browser whose profile is in a directory; end it with everything it started."""
    program = shutil.which("chromium")
    assert program, "there is no chromium: apt-get install chromium"
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    arguments = [*_ARGUMENTS, "--remote-debugging-pipe", f"--user-data-dir={directory}/profile"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    # it takes commands on descriptor 3 and answers on 4: a shell puts them there
    script = f'exec "$@" 3<&{to_browser} 4>&{from_browser} {to_browser}<&- {from_browser}>&-'
    with (directory / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(to_browser, from_browser),
            env={**os.environ, "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)},
        )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)  # the end of the pipe is its order to end
        os.close(answers)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
