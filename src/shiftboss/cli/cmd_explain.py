"""The command `shiftboss explain`."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from shiftboss.cli.output import Console, print_json
from shiftboss.cli.session import open_session
from shiftboss.core.errors import UserError
from shiftboss.core.explanation import Explanation, explain, known_zone
from shiftboss.core.spec import DstPolicy
from shiftboss.setup.due import DIALECTS


@click.command("explain", epilog='shiftboss explain "*/15 8-18 * * mon-fri" --timezone Europe/Riga')
@click.argument("expression", metavar='"EXPR"')
@click.option(
    "--timezone", metavar="TZ", help="IANA time zone, such as Europe/Riga (default: this server's)."
)
@click.option("--from", "start", metavar="ISO", help="Show times after this one (default: now).")
@click.option(
    "--count", default=5, show_default=True, type=click.IntRange(0, 1000), help="How many next times."
)
@click.option(
    "--dialect",
    type=click.Choice(["native", "debian", "cronie"]),
    help="Whose rules (default: those of the backend that runs schedules here).",
)
@click.option(
    "--dst",
    type=click.Choice(["debian", "skip"]),
    default="debian",
    show_default=True,
    help="What becomes of a fixed time that a clock change leaves out: run right after it, or not at all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    expression: str,
    timezone: str | None,
    start: str | None,
    count: int,
    dialect: str | None,
    dst: DstPolicy,
    as_json: bool,
) -> int:
    """Say in plain words what a cron expression means, when it runs next, and what the target's cron really does.

    With --dialect native also intervals ("every 90s"), seconds, L, W, # and H.
    Exits with 2 for an expression that is not valid or that would never run.
    """
    session = open_session(ctx)
    clock = session.machine.clock
    zone = known_zone(timezone) if timezone else clock.zone()
    rules = dialect or DIALECTS.get(session.site.schedule_backend, "debian")
    found = explain(expression, rules, zone, _moment(start, zone) or clock.now(), count, dst)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found, expression, zone)
    return 0 if found.valid else 2


def _moment(text: str | None, zone: ZoneInfo) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"{text[:40]!r} is not an ISO time", hint="Write 2026-11-23T14:30 or 2026-11-23."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _as_json(found: Explanation) -> dict[str, Any]:
    return {
        "valid": found.valid,
        "error": found.error or None,
        "text": found.text or None,
        "next": [moment.isoformat() for moment in found.next],
        "lint": [{"code": finding.code, "message": finding.message} for finding in found.lint],
    }


def _print(found: Explanation, expression: str, zone: ZoneInfo) -> None:
    console = Console()
    if found.error:
        console.print(f"{expression}: {found.error}", colour="red")
    if found.text:
        console.print(found.text, bold=True)
    for moment in found.next:
        console.print(f"  {moment:%a %Y-%m-%d %H:%M:%S %z}  {zone}")
    for finding in found.lint:
        if finding.message != found.error:
            console.print(f"! {finding.message}", colour="yellow")
