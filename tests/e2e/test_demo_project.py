"""The project of the demo by itself: a page, its button, and workers that lose no e-mail when they are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shiftboss.demo.stage import PROJECT
from tests.e2e.browser import chromium
from tests.supervisord import free_port
from tests.waiting import wait_until

CONSUMER = [
    str(Path(sys.prefix) / "bin/huey_consumer"), "tasks.huey", "--workers=4", "--max-delay=0.2", "--no-periodic",
]  # fmt: skip


@dataclass
class Newsletter:
    """The project, deployed in a directory, and its processes."""

    root: Path
    port: int
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deploy(self, number: int) -> Path:
        release = self.root / "releases" / str(number)
        shutil.copytree(PROJECT, release, ignore=shutil.ignore_patterns("__pycache__"))
        return release

    def start(self, *argv: str, release: int = 1) -> "subprocess.Popen[bytes]":
        directory = self.root / "releases" / str(release)
        with (self.root / "output").open("ab") as output:
            environment = {**os.environ, "PORT": str(self.port)}
            process = subprocess.Popen(argv, cwd=directory, env=environment, stdout=output, stderr=output)
        self.processes.append(process)
        return process

    def start_page(self, release: int = 1) -> "subprocess.Popen[bytes]":
        process = self.start(sys.executable, "web.py", release=release)
        wait_until(self.answers, 20, what="the page")
        return process

    def start_worker(self) -> "subprocess.Popen[bytes]":
        return self.start(*CONSUMER)

    def answers(self) -> bool:
        try:
            return bool(self.progress())
        except OSError:
            return False

    def progress(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/progress", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def press(self, **headers: str) -> int:
        request = urllib.request.Request(f"{self.url}/send", data=b"", method="POST", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)

    def sent(self) -> int:
        return len(list((self.root / "shared/outbox").glob("[0-9]*.eml")))

    def output(self) -> str:
        return (self.root / "output").read_text()


@pytest.fixture
def newsletter(tmp_path: Path) -> Iterator[Newsletter]:
    """Give the project with its page; end all of its processes afterwards."""
    made = Newsletter(tmp_path, free_port())
    made.deploy(1)
    (tmp_path / "shared").mkdir()
    try:
        made.start_page()
        yield made
    finally:
        for process in made.processes:
            process.kill()
            process.wait()


def test_two_killed_workers_lose_no_email_and_send_none_twice(newsletter: Newsletter) -> None:
    first, second = newsletter.start_worker(), newsletter.start_worker()
    assert newsletter.press() == 200

    for victim, seen in ((first, 100), (second, 400)):
        wait_until(lambda seen=seen: newsletter.sent() >= seen, 60, what=f"{seen} e-mails")
        victim.kill()
        victim.wait()
        newsletter.start_worker()

    wait_until(lambda: newsletter.sent() == 1000, 60, what="1000 e-mails")
    wait_until(lambda: newsletter.progress()["sent"] == 1000, 10, what="all of them counted")
    lines = [line for line in newsletter.output().splitlines() if "sent e-mail" in line]
    numbers = [int(line.rpartition(" ")[2]) for line in lines]
    assert len(numbers) == len(set(numbers)), "an e-mail was sent twice"
    assert sum(worker["sent"] for worker in newsletter.progress()["workers"]) == 1000


TAKEN_OFF_MEANWHILE = """
import outbox, tasks
(number,) = outbox.add(1)
tasks.send_email(number)
tasks.send_email(number)
tasks.huey.execute(tasks.huey.dequeue())          # it is sent once: the second copy stays in the queue
with outbox.database() as db:                     # as if the process that took the first had been killed with it in hand
    db.execute("UPDATE email SET sent = 0, process = ? WHERE number = ?", ({dead}, number))
(outbox.DIRECTORY / f"{{number}}.eml").unlink()
pending = tasks.huey.pending

def pending_and_taken():
    found = pending()
    tasks.huey.execute(tasks.huey.dequeue())      # another worker takes the second copy off just now
    return found

tasks.huey.pending = pending_and_taken
tasks.resume()
tasks.huey.pending = pending
print(outbox.progress()["sent"] + len(pending()))
"""


def test_an_email_whose_copy_is_taken_off_the_queue_while_a_worker_resumes_is_not_lost(
    tmp_path: Path,
) -> None:
    newsletter = Newsletter(tmp_path, 0)
    release = newsletter.deploy(1)
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()

    script = TAKEN_OFF_MEANWHILE.format(dead=gone.pid)
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=release, capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == "1", "neither sent nor in the queue"


def test_sigint_lets_a_worker_finish_what_it_has_in_hand(newsletter: Newsletter) -> None:
    worker = newsletter.start_worker()
    newsletter.press()
    wait_until(lambda: newsletter.sent() >= 20, 30, what="the first e-mails")

    worker.send_signal(signal.SIGINT)

    assert worker.wait(20) == 0
    counted = newsletter.progress()
    assert counted["workers"] == [{"pid": worker.pid, "sent": counted["sent"], "alive": False}]
    assert not list((newsletter.root / "shared/outbox").glob(".*.unfinished"))


def test_the_page_answers_before_the_work_is_done_and_refuses_other_sites(newsletter: Newsletter) -> None:
    assert newsletter.press() == 200
    assert newsletter.progress() == {"release": "1", "total": 1000, "sent": 0, "workers": []}

    with pytest.raises(urllib.error.HTTPError, match="403"):
        newsletter.press(**{"Sec-Fetch-Site": "cross-site"})
    assert newsletter.progress()["total"] == 1000


def test_a_page_that_is_stopped_frees_its_port_for_the_next_release(newsletter: Newsletter) -> None:
    newsletter.deploy(2)
    page = newsletter.processes[0]
    page.terminate()
    assert page.wait(20) == 0

    newsletter.start_page(release=2)

    assert newsletter.progress()["release"] == "2"


def test_a_browser_shows_the_progress_by_itself(newsletter: Newsletter, tmp_path: Path) -> None:
    newsletter.start_worker()
    newsletter.start_worker()
    with chromium(tmp_path) as browser:
        browser.open(newsletter.url)
        # before its script has run, the button does what it does without one
        wait_until(
            lambda: browser.ask("document.readyState") == "complete", 20, what="the page and its script"
        )
        browser.click("button")
        wait_until(
            lambda: "Answered in" in browser.ask("document.getElementById('answer')?.innerText ?? ''"), 20
        )
        seen = set()

        def reached() -> bool:
            seen.add(browser.ask("document.getElementById('bar').value"))
            return max(seen) == 1000

        wait_until(reached, 60, what="the bar at 1000")
        assert len(seen) > 4, "it did not move step by step"
        assert browser.ask("document.querySelectorAll('#workers tr').length") == 2
        wait_until(
            lambda: "1000 of 1000" in browser.ask("document.getElementById('spoken')?.innerText ?? ''"), 10
        )
        if place := os.environ.get("SHIFTBOSS_SCREENSHOT"):
            browser.screenshot(Path(place))


def test_without_javascript_the_button_and_the_numbers_work_too(
    newsletter: Newsletter, tmp_path: Path
) -> None:
    newsletter.start_worker()
    with chromium(tmp_path) as browser:
        browser.without_javascript()
        browser.open(newsletter.url)
        wait_until(lambda: browser.ask("document.querySelector('button')?.innerText"), 20, what="the button")
        browser.click("button")
        wait_until(lambda: number_of(browser, "total") == 1000, 20, what="the page after the button")
        wait_until(lambda: number_of(browser, "sent") > 100, 30, what="a page that loads itself again")


def number_of(browser: Any, name: str) -> int:
    """Return a number of the page, 0 while the page is being loaded."""
    return int(browser.ask(f"document.getElementById('{name}')?.textContent") or 0)
