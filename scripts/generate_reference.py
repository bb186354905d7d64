"""Write the reference pages that are made from the code: commands, presets, configuration, lifecycle, calls.

generate_reference.py            writes what changed, removes pages of commands that are gone
generate_reference.py --check    writes nothing; exit 1 if a page is not what the code says
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import reference_calls
import reference_cli
import reference_configuration
import reference_lifecycle
import reference_presets

CHECKOUT = Path(__file__).resolve().parent.parent
REFERENCE = CHECKOUT / "docs/reference"


def pages() -> dict[str, str]:
    """Return every generated page, by its path below docs/reference."""
    from shiftboss.cli.classic import setup_cron_command, setup_supervisor_command
    from shiftboss.cli.main import cli

    programs = {
        "shiftboss": cli,
        "setup-supervisor": setup_supervisor_command,
        "setup-cron": setup_cron_command,
    }
    made = {f"cli/{name}": text for name, text in reference_cli.pages(programs).items()}
    made["presets.md"] = reference_presets.page()
    made["configuration.md"] = reference_configuration.page()
    made["lifecycle.md"] = reference_lifecycle.page()
    made["calls.md"] = reference_calls.page()
    return made


def stale(made: Mapping[str, str], directory: Path) -> Iterator[str]:
    """Yield the pages below `directory` that differ from what was made, are missing, or should not be there."""
    for name, text in made.items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield name
    yield from (
        f"cli/{path.name}"
        for path in sorted((directory / "cli").glob("*.md"))
        if f"cli/{path.name}" not in made
    )


def write(made: Mapping[str, str], directory: Path) -> None:
    """Make the pages below `directory` what was made."""
    for name in list(stale(made, directory)):
        path = directory / name
        if name not in made:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[name], encoding="utf-8")


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made = pages()
    changed = list(stale(made, REFERENCE))
    for name in changed:
        print(f"docs/reference/{name}: {'stale, run make docs' if check else 'written'}")
    if not check:
        write(made, REFERENCE)
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
