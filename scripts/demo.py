"""The main job on real parts, unprivileged and in one temporary directory: `make demo`.

A real Supervisor, the example project of examples/newsletter, and the real command line of shiftboss. Ends with
nothing left behind, also on Ctrl-C. With --keep it stays up until Ctrl-C, to be tried out from another terminal.
"""

import argparse
import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import psutil

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/newsletter"
EMAILS = 100
DEADLINE_SECONDS = 30

SUPERVISORD = """\
[supervisord]
nodaemon = true
logfile = {top}/supervisord.log
pidfile = {top}/supervisord.pid
childlogdir = {top}

[unix_http_server]
file = {top}/supervisor.sock
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{top}/supervisor.sock

[include]
files = {top}/conf.d/*.conf
"""

SHIFTBOSS = """\
[layout]
projects = "projects"
logs = "logs"
user = "{user}"

[paths]
projects_d = "projects.d"
state = "state"
run = "run"

[backend]
workers = "supervisor"

[supervisor]
conf_file = "{top}/supervisord.conf"
conf_dir = "{top}/conf.d"
server = "unix://{top}/supervisor.sock"

[logrotate]
dir = "{top}/logrotate.d"
"""


class DemoError(Exception):
    """The demo did not show what it should; the message says what."""


def main() -> int:
    """Run the demo; return 0 if everything was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    keep = parser.parse_args().keep
    # one way out for Ctrl-C, `kill` and a closed terminal: through the `finally`s below
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with directory() as top, supervisor(top):
            show(top)
            next_steps(top, keep=keep)
            if keep:
                signal.pause()
    except DemoError as failure:
        print(f"error: the demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped, and everything is removed")
        return 0 if keep else 130
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Make the demo's directory with everything in it but processes; remove it at the end."""
    # a path of a Unix socket has at most 107 bytes, and TMPDIR may be long
    top = Path(tempfile.mkdtemp(prefix="shiftboss-demo-", dir="/tmp"))
    try:
        top.chmod(0o755)
        lay_out(top)
        yield top
    finally:
        with ignored_signals():
            shutil.rmtree(top)


def lay_out(top: Path) -> None:
    """Put a server into a directory: the project with its first release, and two configuration files."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    for name in ("conf.d", "logrotate.d", "logs", "projects.d", "run", "state"):
        (top / name).mkdir()
    (top / "supervisord.conf").write_text(SUPERVISORD.format(top=top))
    (top / "config.toml").write_text(SHIFTBOSS.format(top=top, user=user))
    project = top / "projects/newsletter"
    release = project / "releases/1"
    shutil.copytree(EXAMPLE, release, ignore=shutil.ignore_patterns("__pycache__"))
    (release / ".venv").symlink_to(sys.prefix)
    (project / "current").symlink_to("releases/1")
    (project / "shared").mkdir()


@contextlib.contextmanager
def supervisor(top: Path) -> Iterator[None]:
    """Run a supervisord; at the end stop it and everything that it started."""
    say("a Supervisor of its own, as an ordinary program in a temporary directory")
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", f"{top}/supervisord.conf"]
    # Python 3.12 and Supervisor disagree about pkg_resources; what it prints is in its log anyway
    daemon = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(lambda: answers(top / "supervisor.sock"), "Supervisor's socket", alive=daemon)
        print(f"supervisord runs as pid {daemon.pid} in {top}")
        yield
    finally:
        with ignored_signals():
            stop(daemon)


def answers(path: Path) -> bool:
    """Say whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def stop(daemon: "subprocess.Popen[bytes]") -> None:
    """End a supervisord and its programs, the hard way if they do not end by themselves in time."""
    try:
        programs = psutil.Process(daemon.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        programs = []
    daemon.terminate()
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    _, alive = psutil.wait_procs(programs, timeout=2)
    for program in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            program.kill()
    psutil.wait_procs(alive, timeout=5)


@contextlib.contextmanager
def ignored_signals() -> Iterator[None]:
    """Tidy up undisturbed: a second Ctrl-C must not leave things behind."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(top: Path) -> None:
    """Go through the scenes; raise DemoError where one does not end as it should."""
    outbox = top / "projects/newsletter/shared/outbox"
    say("one command: the project's queue worker is written, started and proven to run")
    shiftboss(top, "setup", "newsletter", "huey")

    say(f"the web request's part: {EMAILS} slow e-mails go on the queue")
    enqueue(top)
    say("the worker is at it")
    shiftboss(top, "status")
    started = time.monotonic()
    wait_for(lambda: len(list(outbox.glob("*.eml"))) == EMAILS, f"{EMAILS} e-mails in the outbox")
    print(f"all {EMAILS} e-mails are in the outbox after {time.monotonic() - started:.1f} s more")

    say("its log")
    shiftboss(top, "logs", "newsletter", "-n", "5")

    say("the worker dies")
    old = worker_pid(top)
    print(f"$ kill -9 {old}")
    os.kill(old, signal.SIGKILL)
    new = wait_for(lambda: (pid := worker_pid(top)) != old and pid, "a new worker process")
    print(f"Supervisor started it again: pid {old} -> {new}")
    shiftboss(top, "status", "newsletter")


def enqueue(top: Path) -> None:
    """Put the e-mails on the queue, as the project's own code does it."""
    current = top / "projects/newsletter/current"
    print(f"$ python enqueue.py {EMAILS}")
    subprocess.run(
        [sys.executable, "enqueue.py", str(EMAILS)], cwd=current, check=True, timeout=DEADLINE_SECONDS
    )


def worker_pid(top: Path) -> int:
    """Return the pid of the running worker process, 0 if there is none at the moment."""
    finished = subprocess.run(
        command_line("status", "newsletter", "--json"),
        env=environment(top),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    (project,) = json.loads(finished.stdout)["projects"]
    running = [p["pid"] for p in project["workers"][0]["processes"] if p["state"] == "RUNNING"]
    return running[0] if running else 0


def shiftboss(top: Path, *arguments: str) -> None:
    """Run and show a shiftboss command; raise DemoError if it fails."""
    print(f"$ {shlex.join(['shiftboss', *arguments])}", flush=True)
    finished = subprocess.run(command_line(*arguments), env=environment(top), check=False, timeout=120)
    if finished.returncode:
        raise DemoError(f"shiftboss {arguments[0]} ended with exit status {finished.returncode}")


def command_line(*arguments: str) -> list[str]:
    """Return the words that run shiftboss from this environment."""
    return [sys.executable, "-m", "shiftboss", *arguments]


def environment(top: Path) -> dict[str, str]:
    """Return the environment in which shiftboss works on the demo's server and on nothing else."""
    return {**os.environ, "SHIFTBOSS_CONFIG": str(top / "config.toml")}


def wait_for(
    condition: Callable[[], object], what: str, *, alive: "subprocess.Popen[bytes] | None" = None
) -> object:
    """Wait until `condition` holds and return what it returned; raise DemoError when it takes too long."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (seen := condition()):
        if alive is not None and alive.poll() is not None:
            raise DemoError(f"supervisord ended with exit status {alive.returncode}")
        if time.monotonic() > end:
            raise DemoError(f"{what}: not there after {DEADLINE_SECONDS} s")
        time.sleep(0.05)
    return seen


def next_steps(top: Path, *, keep: bool) -> None:
    """Print what to try."""
    say(
        "what to try next"
        if keep
        else "what to try next, with `make demo DEMO_FLAGS=--keep`, from another terminal"
    )
    program = Path(sys.prefix) / "bin/shiftboss"
    place = str(top) if keep else "/tmp/shiftboss-demo-…"
    print(f"""\
export SHIFTBOSS_CONFIG={place}/config.toml
{program} status
{program} logs newsletter -f
{program} restart newsletter/queue
{program} setup newsletter huey --dry-run
{program} plan
{program} remove newsletter/queue""")
    if keep:
        print("\nCtrl-C stops everything and removes the directory", flush=True)


def say(text: str) -> None:
    """Print the heading of a scene."""
    bold, plain = (
        ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    )
    print(f"\n{bold}== {text}{plain}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
