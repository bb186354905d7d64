"""scripts/make_venv.sh, behind every make target: clear words where a machine lacks what Python needs."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/make_venv.sh"


def make_venv(directory: Path, python: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), str(directory / "venv"), "requirements/runtime.lock"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def interpreter(directory: Path, refuses: str) -> Path:
    """Return a Python that fails when it is asked for something, as Debian's does without python3-venv."""
    path = directory / "python3"
    path.write_text(f'#!/bin/sh\ncase "$*" in *"{refuses}"*) exit 1 ;; esac\nexec /usr/bin/python3 "$@"\n')
    path.chmod(0o755)
    return path


def test_a_python_without_ensurepip_is_named_with_the_package_that_brings_it(tmp_path: Path) -> None:
    python = interpreter(tmp_path, "ensurepip")
    finished = make_venv(tmp_path, python)
    assert finished.returncode == 1
    assert finished.stderr == (
        f"cannot make {tmp_path}/venv: {python} has no ensurepip\n"
        "Install it as root with: apt-get install python3-venv\n"
    )
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("missing", [True, False])
def test_an_old_or_missing_python_is_refused(tmp_path: Path, missing: bool) -> None:
    python = tmp_path / "nowhere" if missing else interpreter(tmp_path, "version_info")
    finished = make_venv(tmp_path, python)
    assert finished.returncode == 1
    assert finished.stderr.startswith(
        f"cannot make {tmp_path}/venv: there is no Python 3.11 or newer at {python}\n"
    )
    assert "apt-get install python3 python3-venv" in finished.stderr
    assert not (tmp_path / "venv").exists()
