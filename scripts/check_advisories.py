"""Look for known holes in the packages that our locks pin (pip-audit, the advisories of the Python package index).

Exit status 0: every package was looked up, nothing is known. 1: something is. 3: not every package could be looked
up (no network, or a package mirror without advisories); with `--unreachable-ok` that is told and no failure. pip-audit
itself calls a lock clean of which it could look up nothing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
LOCKS = ("runtime", "demo", "dev")
PIP_AUDIT = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json")
SECONDS = 300
OK, HOLES, NOT_LOOKED_UP = 0, 1, 3

# Advisories that do not concern us: id, and why. Remove a row when the package has a version without the hole.
ACCEPTED: dict[str, str] = {}


class Found(NamedTuple):
    """What is known of one lock: how many packages were looked up, what could not be and why, holes in words."""

    looked_up: int
    unknown: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()


def read(output: str, errors: str) -> Found:
    """Return what pip-audit says; without its JSON nothing was looked up."""
    try:
        rows: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        words = errors.strip().splitlines()
        return Found(0, (words[-1] if words else "pip-audit said nothing",))
    unknown = tuple(row["skip_reason"] for row in rows if "skip_reason" in row)
    holes = tuple(hole(row, each) for row in rows for each in row.get("vulns", ()))
    return Found(len(rows) - len(unknown), unknown, holes)


def hole(package: dict[str, Any], advisory: dict[str, Any]) -> str:
    """Return one line about a hole."""
    mended = ", ".join(advisory.get("fix_versions") or ()) or "no version yet"
    return f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}"


def ask(lock: str) -> Found:
    """Have one lock looked up."""
    ignored = [f"--ignore-vuln={each}" for each in ACCEPTED]
    path = f"requirements/{lock}.lock"
    command = [sys.executable, "-m", "pip_audit", *PIP_AUDIT, *ignored, "-r", path]
    try:
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Found(0, (f"no answer in {SECONDS} s",))
    return read(done.stdout, done.stderr)


def lines(lock: str, found: Found) -> Iterable[str]:
    """Yield what a person should know of one lock."""
    yield from (f"error: {lock}.lock: {each}" for each in found.holes)
    if found.unknown:
        yield f"{lock}.lock: {found.looked_up} packages looked up, others not: {found.unknown[0]}"
    elif not found.holes:
        yield f"{lock}.lock: {found.looked_up} packages looked up, no hole is known"


def status(found: Iterable[Found], *, unreachable_ok: bool) -> int:
    """Return the exit status."""
    every = list(found)
    if any(each.holes for each in every):
        return HOLES
    return NOT_LOOKED_UP if any(each.unknown for each in every) and not unreachable_ok else OK


def main() -> int:
    """Look all locks up, and say what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--unreachable-ok", action="store_true", help="only a hole is a failure")
    options = parser.parse_args()
    found = {lock: ask(lock) for lock in LOCKS}
    for lock, each in found.items():
        for line in lines(lock, each):
            print(line, file=sys.stderr if each.holes else sys.stdout)
    if any(each.unknown for each in found.values()):
        print(
            "What was not looked up may have holes. Run `make audit` where the package index gives advisories."
        )
    return status(found.values(), unreachable_ok=options.unreachable_ok)


if __name__ == "__main__":
    sys.exit(main())
