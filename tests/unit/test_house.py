"""The house is in order: nothing of one machine in the tree, and what the documents say is so."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftboss.version import VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_TRACKED = {
    ".git", ".venv", "node_modules", "__pycache__", "build", "dist", ".mypy_cache", ".pytest_cache", ".ruff_cache",
    ".hypothesis",
}  # fmt: skip
LOCKS = sorted(path.stem for path in (CHECKOUT / "requirements").glob("*.lock"))

# spelled apart, so that this file itself does not name them
REGISTRIES = [
    ".".join(words)
    for words in [
        ("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs"), ("registry", "yarnpkg"), ("deb", "debian"),
        ("packagist", "org"), ("rubygems", "org"), ("proxy", "golang"),
    ]
]  # fmt: skip
MACHINE_PATHS = [re.compile("/" + top + r"/(main|shared|\.|[a-z]+/)") for top in ("work",)]


def tracked(directory: Path = CHECKOUT) -> Iterator[Path]:
    """Yield every file of the checkout that is, or will be, under version control."""
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or path.name in NOT_TRACKED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from tracked(path)
        else:
            yield path


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of every tracked text file."""
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(CHECKOUT)), content.decode(errors="replace")


def foreign(text: str) -> list[str]:
    """Return the registry hosts and paths of one machine that a text names."""
    named = [host for host in REGISTRIES if host in text]
    return named + [found[0] for pattern in MACHINE_PATHS if (found := pattern.search(text))]


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    assert {name: found for name, text in texts() if (found := foreign(text))} == {}


@pytest.mark.parametrize("text", [f"https://{host}/simple" for host in REGISTRIES] + ["cd /" + "work/main"])
def test_what_that_check_looks_for_is_found(text: str) -> None:
    assert foreign(text)


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_every_package_by_version_and_hash_and_name_no_server(name: str) -> None:
    lock = (CHECKOUT / f"requirements/{name}.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^ *#.*\n", "", lock).strip())
    assert entries
    assert [
        entry for entry in entries if not re.match(r"[\w.-]+==\S+.*\\\n *--hash=sha256:[0-9a-f]{64}", entry)
    ] == []
    assert "://" not in lock


def pins(name: str) -> dict[str, str]:
    """Return package and version of a lock file."""
    lock = (CHECKOUT / f"requirements/{name}.lock").read_text()
    return dict(re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", lock))


def test_there_is_a_lock_for_every_use() -> None:
    assert set(LOCKS) >= {"runtime", "demo", "dev"}


def test_locks_agree_so_that_one_environment_serves_them_all() -> None:
    assert pins("runtime").items() <= pins("demo").items() <= pins("dev").items()


def test_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    build = [
        line
        for line in (CHECKOUT / "requirements/build.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    runtime = project["project"]["dependencies"]
    demo = project["project"]["optional-dependencies"]["demo"]
    wanted = {
        "runtime": runtime,
        "demo": runtime + demo + build + project["build-system"]["requires"],
        "dev": runtime + demo + build + project["dependency-groups"]["dev"],
    }
    missing = {
        (lock, name)
        for lock, requirements in wanted.items()
        for requirement in requirements
        if (name := re.split(r"[\[<>=!~ ;]", requirement)[0].lower()) not in pins(lock)
    }
    assert missing == set()


def makefile_targets() -> set[str]:
    """Return the names of the Makefile's targets for people."""
    return set(re.findall(r"(?m)^([a-z-]+):", (CHECKOUT / "Makefile").read_text()))


def test_every_make_command_that_a_document_shows_exists() -> None:
    shown = {
        (name, target)
        for name, text in texts()
        if name.endswith(".md")
        for target in re.findall(r"(?m)(?:^ {4}|^[$#] ?|`)(?:sudo )?make ([a-z-]+)", text)
    }
    assert {target for _, target in shown} >= {"demo", "test"}
    assert {(name, target) for name, target in shown if target not in makefile_targets()} == set()


def test_the_version_has_its_section_in_the_changelog() -> None:
    changelog = (CHECKOUT / "CHANGELOG.md").read_text()
    assert re.search(rf"(?m)^## \[{re.escape(VERSION)}\]", changelog)


def test_the_rules_about_security_hold_for_all_of_src_and_each_exception_says_why() -> None:
    """Bandit's rules (ruff S) are part of `make check`; a whole file may only be left out of single ones."""
    lint = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == ["S101"]
    for place, rules in lint["per-file-ignores"].items():
        assert "S" not in rules or not place.startswith("src/"), place
    assert "ruff check" in (CHECKOUT / "Makefile").read_text()
    exceptions = 0
    for path in sorted((CHECKOUT / "src").rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"# noqa(?!: [A-Z])", line):
                pytest.fail(f"{path}:{number}: names no rule")
            if re.search(r"# noqa: ([A-Z]+\d+, )*S\d", line):
                exceptions += 1
                assert re.search(r"# noqa: [A-Z0-9, ]+ --? \S+", line), f"{path}:{number}: says no reason"
    assert exceptions > 5
