"""`make demo`: the README's first command shows the main job, as root and as anybody, and leaves nothing behind."""

import os
import pwd
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


def demo_command(python: str, *flags: str) -> list[str]:
    return [python, "-u", str(CHECKOUT / "scripts/demo.py"), *flags]


def top_of(output: str) -> Path:
    found = re.search(r"supervisord runs as pid (\d+) in (\S+)", output)
    assert found, output
    return Path(found[2])


def assert_nothing_is_left(top: Path) -> None:
    assert not top.exists()
    left = [
        p.info
        for p in psutil.process_iter(["pid", "cmdline"])
        if str(top) in " ".join(p.info["cmdline"] or [])
    ]
    assert left == []


def assert_everything_was_shown(output: str) -> None:
    assert "all 100 e-mails are in the outbox" in output
    assert "sent e-mail" in output
    assert re.search(r"Supervisor started it again: pid (\d+) -> (?!\1)\d+", output)


def test_the_demo_does_the_main_job_and_leaves_nothing_behind() -> None:
    finished = subprocess.run(
        demo_command(sys.executable), capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_everything_was_shown(finished.stdout)
    assert_nothing_is_left(top_of(finished.stdout))


@pytest.fixture
def public_python(public_tmp: Path) -> str:
    """Return a Python with our packages that every user may run, wherever this one lives."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", public_tmp / "venv"], check=True)
    (site,) = (public_tmp / "venv/lib").glob("python3.*/site-packages")
    assert site.parent.name == f"python{sys.version_info[0]}.{sys.version_info[1]}", (
        "compiled packages must fit"
    )
    subprocess.run(["cp", "-a", f"{sysconfig.get_path('purelib')}/.", site], check=True)
    (site / "checkout.pth").write_text(f"{CHECKOUT}/src\n")
    consumer = public_tmp / "venv/bin/huey_consumer"
    consumer.write_text(
        f"#!{public_tmp}/venv/bin/python\nfrom huey.bin.huey_consumer import consumer_main\nconsumer_main()\n"
    )
    consumer.chmod(0o755)
    return f"{public_tmp}/venv/bin/python"


@pytest.mark.needs_root
def test_an_ordinary_user_can_run_the_demo(public_python: str) -> None:
    nobody = pwd.getpwnam("nobody")
    finished = subprocess.run(
        demo_command(public_python),
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert_everything_was_shown(finished.stdout)
    assert_nothing_is_left(top_of(finished.stdout))


@pytest.fixture
def staying_demo(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Start `demo.py --keep` and give it together with the file of its output."""
    output = tmp_path / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            demo_command(sys.executable, "--keep"), stdout=sink, stderr=subprocess.STDOUT
        )
    yield process, output
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("scene", ["setup newsletter huey", "Ctrl-C stops everything"])
def test_interrupted_at_any_time_it_leaves_nothing_behind(
    staying_demo: tuple["subprocess.Popen[bytes]", Path], scene: str, number: signal.Signals
) -> None:
    process, output = staying_demo
    wait_until(lambda: scene in output.read_text() or process.poll() is not None, 60, what=scene)
    os.kill(process.pid, number)
    status = process.wait(60)
    assert status == 0, output.read_text()
    assert "everything is removed" in output.read_text()
    assert_nothing_is_left(top_of(output.read_text()))
