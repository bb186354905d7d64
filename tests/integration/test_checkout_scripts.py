"""bin/setup-supervisor.sh and bin/setup-cron.sh: the classic scripts straight from a checkout, safe for root."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from shiftboss.version import VERSION

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(public_tmp: Path) -> Path:
    """Return a copy of the checkout with an environment of its own, owned by us."""
    copy = public_tmp / "checkout"
    for name in ("bin", "scripts", "src"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    python = os.path.realpath(sys.executable)
    subprocess.run([python, "-m", "venv", "--without-pip", copy / ".venv"], check=True, timeout=60)
    (site,) = (copy / ".venv/lib").glob("python3.*/site-packages")
    (site / "packages.pth").write_text(f"{copy}/src\n{sysconfig.get_path('purelib')}\n")
    subprocess.run(["chown", "-R", f"{os.geteuid()}:{os.getegid()}", copy], check=True)
    subprocess.run(["chmod", "-R", "go-w", copy], check=True)
    return copy


def run(script: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments], cwd=cwd or "/", capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("name", ["setup-supervisor", "setup-cron"])
def test_a_script_runs_its_program_from_anywhere_and_through_links(checkout: Path, name: str) -> None:
    link = checkout.parent / name
    link.symlink_to(f"checkout/bin/{name}.sh")
    second = checkout.parent / f"second-{name}"
    second.symlink_to(link)
    for script in (checkout / f"bin/{name}.sh", link, second):
        finished = run(script, "--version")
        assert (finished.returncode, finished.stdout) == (0, f"{name} {VERSION}\n"), finished.stderr


def test_arguments_and_exit_code_pass_through(checkout: Path) -> None:
    finished = run(checkout / "bin/setup-supervisor.sh", "no such name", "custom", 'a "b" $c;')
    assert finished.returncode == 2
    assert "'no such name' is not a project name" in finished.stderr


def test_nothing_is_imported_from_the_current_directory(checkout: Path, tmp_path: Path) -> None:
    for name in ("click.py", "json.py", "shiftboss.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current directory')\n")
    finished = run(checkout / "bin/setup-cron.sh", "--version", cwd=tmp_path)
    assert finished.stdout == f"setup-cron {VERSION}\n", finished.stderr


def test_without_an_environment_it_says_how_to_make_one(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    finished = run(checkout / "bin/setup-cron.sh", "myapp")
    assert finished.returncode == 1
    assert finished.stderr == (
        f"error: cannot run setup-cron: {checkout} has no .venv yet\n"
        f"  Run `make venv` in {checkout}, or `make install` for a copy in /opt/shiftboss.\n"
    )


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("path", "mode", "owner"),
    [
        (".", 0o777, 0),
        ("..", 0o757, 0),
        ("src/shiftboss", 0o757, 0),
        ("src/shiftboss/cli/main.py", 0o646, 0),
        ("src/shiftboss/cli", 0o755, 65534),
        (".venv/bin", 0o757, 0),
        ("scripts/checkout.sh", 0o644, 65534),
    ],
)
def test_root_does_not_run_code_that_others_can_write(
    checkout: Path, path: str, mode: int, owner: int
) -> None:
    opened = (checkout / path).resolve()
    os.chown(opened, owner, 0)
    opened.chmod(mode)
    finished = run(checkout / "bin/setup-cron.sh", "--version")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith(f"error: cannot run setup-cron as root: others can write {opened}\n")
    assert "make install" in finished.stderr


@pytest.mark.needs_root
def test_root_does_not_run_a_checkout_of_a_group_that_is_not_its_own(checkout: Path) -> None:
    os.chown(checkout / "src", 0, 65534)
    (checkout / "src").chmod(0o775)
    assert run(checkout / "bin/setup-cron.sh", "--version").returncode == 1
    os.chown(checkout / "src", 0, 0)
    assert run(checkout / "bin/setup-cron.sh", "--version").returncode == 0
