"""The command `shiftboss doctor`."""

import click
import msgspec

from shiftboss.cli.making import json_option
from shiftboss.cli.output import Console, print_json
from shiftboss.cli.session import open_session
from shiftboss.cli.targets import complete_project
from shiftboss.core.doctor import Finding
from shiftboss.core.log_lines import harmless
from shiftboss.setup.doctor import examine

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
        console.print(
            harmless(f"{finding.level}: {finding.target}: {finding.message}"), colour=_COLOURS[finding.level]
        )
        if finding.mend:
            console.print(harmless(f"    {finding.mend}"))
    console.print("nothing is wrong" if not found else f"{len(found)} found")
