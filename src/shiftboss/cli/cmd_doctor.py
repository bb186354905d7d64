"""The command `shiftboss doctor`."""

import click
import msgspec

from shiftboss.cli.making import json_option
from shiftboss.cli.output import Console, print_json
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.doctor import Finding
from shiftboss.setup.doctor import examine

# a name that a project chose may look like lines of ours, with a command of its own to copy
_NO_MEND = (
    "no command is shown: the name in it has line breaks or other characters that do not show what they do"
)
_COLOURS = {"problem": "red", "caution": "yellow", "note": None}


@click.command("doctor", epilog="shiftboss doctor myapp")
@click.argument("project", required=False, metavar="[PROJECT]", shell_complete=complete_project)
@json_option
@click.pass_context
def command(ctx: click.Context, project: str | None, as_json: bool) -> int:
    """Find what is wrong or will go wrong: rights, users and groups, double runs, services.

    Changes nothing. Each finding comes with a command that mends it, where one can. Exits with 1 if there is a
    problem or a caution, with 0 if there is nothing or only notes.
    """
    session = open_session(ctx, json=as_json)
    found = examine(session.machine, session.site, session.catalog, project)
    if as_json:
        print_json({"findings": [msgspec.to_builtins(finding) for finding in found]})
    else:
        _show(session.console, found)
    return 1 if any(finding.level != "note" for finding in found) else 0


def _show(console: Console, found: tuple[Finding, ...]) -> None:
    for finding in found:
        line = f"{finding.level}: {finding.target}: {finding.message}"
        console.print(_on_one_line(line), colour=_COLOURS[finding.level])
        if finding.mend:
            console.print(f"    {finding.mend if finding.mend.isprintable() else _NO_MEND}")
    console.print("nothing is wrong" if not found else f"{len(found)} found")


def _on_one_line(text: str) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in text)
