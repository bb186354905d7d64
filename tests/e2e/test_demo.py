"""`make demo`: the README's first command shows the main job, as root and as anybody, and leaves nothing behind."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.browser import chromium
from tests.e2e.public_copy import PYTHON, make_public_copy
from tests.waiting import wait_until

# about 20 s each on an idle machine
pytestmark = pytest.mark.timeout(240)

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = ("-u", "-P", "-m", "shiftboss", "demo")
TOURED = "Ctrl-C stops everything"
# a test run in the background, or under nohup, has these ignored
INTERRUPTIBLE = ("env", "--default-signal=INT", "--default-signal=HUP", "NO_COLOR=1")


def top_of(output: str) -> Path:
    found = re.search(r"in (/tmp/shiftboss-demo-\w+)", output)
    assert found, output
    return Path(found[1])


def processes_of(top: Path) -> dict[int, str]:
    """Return every process that works in a directory, or was started with its name."""
    asked = psutil.process_iter(["cmdline", "cwd"])
    living = {
        process.pid: " ".join([*(process.info["cmdline"] or ()), str(process.info["cwd"])])
        for process in asked
    }
    return {pid: words for pid, words in living.items() if str(top) in words}


def assert_nothing_is_left(top: Path) -> None:
    assert not top.exists()
    assert processes_of(top) == {}


def assert_everything_was_shown(output: str) -> None:
    for scene in (
        r"answered after \d+ ms",
        r"it was started again: pid (\d+) -> (?!\1)\d+",
        r"all 1000 e-mails are in the outbox, none lost",
        r"newsletter/queue:1 .*KILL",
        r"\d+ of 1000 e-mails are sent\n--- run \d+ of newsletter/report ended",
        r"newsletter/report: ran",
        r"newsletter/web:1: pid (\d+) -> (?!\1)\d+",
        r"the page is that of release 2",
        r"everything is stopped after [\d.]+ s, and every file is removed",
    ):
        assert re.search(scene, output), f"{scene!r} is missing:\n{output}"


def test_by_itself_it_does_the_main_job_and_leaves_nothing_behind() -> None:
    """No terminal: nobody could press Ctrl-C, so it ends by itself."""
    finished = subprocess.run(
        [sys.executable, *DEMO],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_everything_was_shown(finished.stdout)
    assert_nothing_is_left(top_of(finished.stdout))


@pytest.fixture
def public_python(public_tmp: Path) -> str:
    """Return a Python with shiftboss and huey that every user may run, wherever this one lives."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", public_tmp / "venv"], check=True)
    (site,) = (public_tmp / "venv/lib").glob("python3.*/site-packages")
    assert site.parent.name == f"python{sys.version_info[0]}.{sys.version_info[1]}", (
        "compiled packages must fit"
    )
    make_public_copy(site)
    shutil.copytree(Path(sysconfig.get_path("purelib")) / "huey", site / "huey")
    python = public_tmp / "venv/bin/python"
    consumer = public_tmp / "venv/bin/huey_consumer"
    consumer.write_text(f"#!{python}\nfrom huey.bin.huey_consumer import consumer_main\nconsumer_main()\n")
    consumer.chmod(0o755)
    return str(python)


@pytest.mark.needs_root
def test_an_ordinary_user_can_run_the_demo(public_python: str) -> None:
    nobody = pwd.getpwnam("nobody")
    finished = subprocess.run(
        [public_python, *DEMO, "--once"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_everything_was_shown(finished.stdout)
    assert_nothing_is_left(top_of(finished.stdout))


@pytest.mark.needs_root
def test_the_project_of_root_runs_as_nobody_where_nobody_can_run_that_python(public_python: str) -> None:
    with staying_demo(Path(public_python).parents[2], public_python) as demo:
        assert "everything runs as nobody" in demo.toured()
        owners = {psutil.Process(pid).username() for pid in demo.workers()}
        assert owners == {"nobody"}


@pytest.mark.needs_root
def test_root_runs_code_of_somebody_else_as_nobody(public_python: str) -> None:
    """A checkout that belongs to a user, in a container or with sudo: root must not run what others can change."""
    (code,) = Path(public_python).parents[1].glob("lib/*/site-packages/shiftboss")
    subprocess.run(["chown", "-R", "12345:12345", code], check=True)

    with staying_demo(Path(public_python).parents[2], public_python) as demo:
        demo.toured()
        top = demo.top()
        owners = {psutil.Process(pid).username() for pid in processes_of(top)}
        assert owners == {"nobody"}
        typed = subprocess.run([f"{top}/shiftboss", "status"], capture_output=True, text=True, check=False)
        assert typed.returncode == 0, typed.stderr
        assert demo.end() == 0, demo.said()
    assert_nothing_is_left(top)


def test_without_huey_it_says_how_to_get_it(public_copy: Path) -> None:
    finished = subprocess.run(
        [PYTHON, *DEMO],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(public_copy)},
        check=False,
        timeout=60,
    )
    assert finished.returncode == 1
    assert "cannot run the demo: its project needs huey" in finished.stderr
    assert "make demo" in finished.stderr
    assert finished.stdout == ""


@dataclass
class Demo:
    """A demo that stays until Ctrl-C."""

    process: "subprocess.Popen[bytes]"
    output: Path

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, text: str) -> str:
        wait_until(lambda: text in self.said() or self.process.poll() is not None, 90, what=text)
        assert text in self.said(), self.said()
        return self.said()

    def toured(self) -> str:
        return self.wait_for(TOURED)

    def top(self) -> Path:
        return top_of(self.said())

    def workers(self) -> list[int]:
        """Return the processes that work in a release."""
        return [
            pid for pid, words in processes_of(self.top()).items() if words.rsplit("/", 2)[1] == "releases"
        ]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        os.kill(self.process.pid, number)
        return self.process.wait(90)


class staying_demo:  # noqa: N801  # used as a function
    """Start a demo that stays, and end it."""

    def __init__(self, directory: Path, python: str = sys.executable) -> None:
        output = directory / "output"
        with output.open("wb") as sink:
            argv = [*INTERRUPTIBLE, python, *DEMO, "--stay"]
            process = subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.demo = Demo(process, output)

    def __enter__(self) -> Demo:
        return self.demo

    def __exit__(self, *_: object) -> None:
        if self.demo.process.poll() is None:
            self.demo.end(signal.SIGTERM)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Give a demo that stays."""
    with staying_demo(tmp_path) as started:
        yield started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("scene", ["starting a page", TOURED])
def test_interrupted_at_any_time_it_leaves_nothing_behind(
    demo: Demo, scene: str, number: signal.Signals
) -> None:
    demo.wait_for(scene)
    status = demo.end(number)
    assert status == (0 if scene == TOURED else 130), demo.said()
    assert_nothing_is_left(demo.top())


def test_every_command_of_the_tour_works_as_it_is_printed(demo: Demo, tmp_path: Path) -> None:
    tour = demo.toured()
    top = demo.top()
    commands = [
        line.strip() for line in re.findall(rf"(?m)^.{{18}}((?:{top}/shiftboss|\(cd|kill) .*)$", tour)
    ]
    assert len(commands) == 8, tour

    for command in commands:
        if command.endswith(" -f"):
            command = f"timeout 3 {command}"
        typed = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False
        )
        wanted = 124 if command.endswith(" -f") else 0
        assert typed.returncode == wanted, f"{command}\n{typed.stdout}{typed.stderr}\n{demo.said()}"

    assert len([pid for pid in demo.workers() if is_consumer(pid)]) == 4
    address = re.search(r"http://127\.0\.0\.1:\d+", tour)
    assert address
    with chromium(tmp_path) as browser:
        browser.open(address[0])
        wait_until(lambda: browser.ask("document.getElementById('release')?.innerText") == "2", 20)
        browser.click("button")
        wait_until(
            lambda: browser.ask("document.getElementById('bar').value") == 1000, 60, what="1000 e-mails"
        )
    assert demo.end() == 0, demo.said()
    assert "newsletter/queue:1" in demo.said().partition(TOURED)[2], "it tells what happens meanwhile"
    assert_nothing_is_left(top)


def is_consumer(pid: int) -> bool:
    return any("huey_consumer" in word for word in psutil.Process(pid).cmdline())


def test_a_server_that_dies_fails_the_demo_and_shows_its_log(demo: Demo) -> None:
    demo.toured()
    top = demo.top()
    (keeper,) = [pid for pid, words in processes_of(top).items() if "shiftboss.keeper.main" in words]
    os.kill(keeper, signal.SIGKILL)

    assert demo.process.wait(60) == 1
    assert "error: the demo failed: shiftboss up ended with exit status -9" in demo.said()
    assert f"{top}/up.log:" in demo.said()
    assert_nothing_is_left(top)


def test_a_demo_that_is_killed_itself_leaves_no_process(demo: Demo) -> None:
    demo.toured()
    top = demo.top()
    demo.process.kill()
    wait_until(lambda: processes_of(top) == {}, 60, what="the end of everything that it started")
    shutil.rmtree(top)
