"""`make install` and `make uninstall`: an own copy, upgraded in one step, and nobody else's files touched."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftboss.version import VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = ["shiftboss", "setup-supervisor", "setup-cron"]
VERSION_FILE = "src/shiftboss/version.py"


def install_sh(
    checkout: Path, destdir: Path, verb: str = "install", **more: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME"} or k.startswith("PIP_")}
    environment = {**kept, "DESTDIR": str(destdir), **more}
    return subprocess.run(
        [str(checkout / "scripts/install.sh"), verb],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def tree(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


@pytest.fixture
def destdir(public_tmp: Path) -> Path:
    """Return the root of a pretended server that has three shells."""
    for shell in ("bash-completion", "zsh", "fish"):
        (public_tmp / "root/usr/share" / shell).mkdir(parents=True)
    (public_tmp / "root/usr/local/share").mkdir(parents=True)
    (public_tmp / "root/opt").mkdir()
    return public_tmp / "root"


@pytest.fixture
def checkout(public_tmp: Path) -> Iterator[Path]:
    """Return a copy of the checkout, with the .venv of this one."""
    copy = public_tmp / "checkout"
    for name in ("scripts", "src", "requirements"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy / name)
    (copy / ".venv").symlink_to(CHECKOUT / ".venv")
    return copy


def answer(destdir: Path, program: str) -> str:
    command = [str(destdir / "usr/local/bin" / program), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, cwd="/").stdout


def test_install_upgrade_and_removal(checkout: Path, destdir: Path) -> None:
    before = tree(destdir)
    finished = install_sh(checkout, destdir)
    assert finished.returncode == 0, finished.stderr
    assert [answer(destdir, program) for program in PROGRAMS] == [f"{p} {VERSION}\n" for p in PROGRAMS]
    share = destdir / "usr/local/share"
    assert "complete" in (share / "bash-completion/completions/setup-cron").read_text()
    assert (share / "zsh/site-functions/_shiftboss").read_text().startswith("#compdef shiftboss\n")
    assert (
        "--command setup-supervisor"
        in (share / "fish/vendor_completions.d/setup-supervisor.fish").read_text()
    )

    version = checkout / VERSION_FILE
    version.write_text(version.read_text().replace(VERSION, "9.8.7"))
    finished = install_sh(checkout, destdir)
    assert finished.returncode == 0, finished.stderr
    assert answer(destdir, "shiftboss") == "shiftboss 9.8.7\n"

    finished = install_sh(checkout, destdir, "uninstall")
    assert finished.returncode == 0, finished.stderr
    assert tree(destdir) == before


def test_the_copy_belongs_to_who_installed_it_and_others_can_only_read_it(
    checkout: Path, destdir: Path
) -> None:
    old = os.umask(0o000)
    try:
        assert install_sh(checkout, destdir).returncode == 0
    finally:
        os.umask(old)
    paths = [path for path in (destdir / "opt/shiftboss").rglob("*") if not path.is_symlink()]
    assert len(paths) > 100
    assert [p for p in paths if p.stat().st_uid != os.geteuid() or p.stat().st_mode & 0o022] == []
    assert [p for p in paths if p.stat().st_mode & 0o004 == 0] == []


def test_a_broken_copy_does_not_take_the_place_of_a_working_one(checkout: Path, destdir: Path) -> None:
    assert install_sh(checkout, destdir).returncode == 0
    before = tree(destdir)
    (checkout / "src/shiftboss/cli/main.py").write_text("raise SystemExit('broken')\n")
    finished = install_sh(checkout, destdir)
    assert finished.returncode == 1
    assert "the new copy does not answer --version" in finished.stderr
    assert answer(destdir, "shiftboss") == f"shiftboss {VERSION}\n"
    assert tree(destdir) == before


@pytest.mark.parametrize(
    "path",
    [
        "usr/local/bin/setup-cron",
        "usr/local/share/fish/vendor_completions.d/shiftboss.fish",
        "opt/shiftboss/notes.txt",
    ],
)
def test_a_foreign_file_of_our_name_is_refused_before_anything_is_done(
    checkout: Path, destdir: Path, path: str
) -> None:
    (destdir / path).parent.mkdir(parents=True, exist_ok=True)
    (destdir / path).write_text("somebody else's\n")
    before = tree(destdir)
    finished = install_sh(checkout, destdir)
    assert finished.returncode == 1
    assert "exists and is not ours" in finished.stderr
    assert (destdir / path).read_text() == "somebody else's\n"
    assert tree(destdir) == before


def test_a_foreign_link_of_our_name_is_refused_even_if_it_leads_nowhere(
    checkout: Path, destdir: Path
) -> None:
    (destdir / "usr/local/bin").mkdir()
    (destdir / "usr/local/bin/shiftboss").symlink_to("/nowhere/shiftboss")
    finished = install_sh(checkout, destdir)
    assert finished.returncode == 1
    assert f"{destdir}/usr/local/bin/shiftboss exists and is not ours" in finished.stderr


def test_removal_leaves_what_was_changed_since_and_what_is_not_ours(checkout: Path, destdir: Path) -> None:
    assert install_sh(checkout, destdir).returncode == 0
    link = destdir / "usr/local/bin/setup-cron"
    link.unlink()
    link.symlink_to("/usr/bin/true")
    completion = destdir / "usr/local/share/bash-completion/completions/shiftboss"
    completion.write_text("edited\n")
    (destdir / "opt/shiftboss/notes.txt").write_text("mine\n")
    finished = install_sh(checkout, destdir, "uninstall")
    assert finished.returncode == 0, finished.stderr
    assert os.readlink(link) == "/usr/bin/true"
    assert completion.read_text() == "edited\n"
    assert [path.name for path in (destdir / "opt/shiftboss").iterdir()] == ["notes.txt"]
    assert not (destdir / "usr/local/bin/shiftboss").is_symlink()


def test_removal_without_an_installation_says_so(checkout: Path, destdir: Path) -> None:
    finished = install_sh(checkout, destdir, "uninstall")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "nothing to remove" in finished.stdout


@pytest.mark.needs_root
def test_an_interpreter_that_others_could_change_is_refused(
    checkout: Path, destdir: Path, public_tmp: Path
) -> None:
    python = public_tmp / "open/python3"
    python.parent.mkdir()
    shutil.copy("/usr/bin/python3", python)
    python.parent.chmod(0o777)
    finished = install_sh(checkout, destdir, PYTHON=str(python))
    assert finished.returncode == 1
    assert "is closed to other users, or they can write it" in finished.stderr
    assert not (destdir / "opt/shiftboss/current").exists()
