"""What commands print: results on standard output, progress on standard error, colour only where it is wanted."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from shiftboss.core.errors import ShiftbossError
from shiftboss.core.log_lines import harmless

_BARE_IN_JSON = re.compile(r"[\x7f-\x9f]")  # control characters that JSON lets pass
_STATE_COLOURS = {
    "RUNNING": "green",
    "STARTING": "yellow",
    "STOPPING": "yellow",
    "BACKOFF": "red",
    "FATAL": "red",
    "EXITED": "red",
    "WAITING": "yellow",
    "STOPPED": "bright_black",
}


class Console:
    """Prints for people, whatever a project put into the text: of what controls a terminal only colours pass.

    `quiet` keeps everything but results and warnings to itself (--json).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._busy = ""

    def print(self, text: str = "", *, colour: str | None = None, bold: bool = False) -> None:
        """Print a line of the result."""
        if not self._quiet:
            self._clear()
            click.secho(harmless(text), fg=colour, bold=bold or None, color=_wish(sys.stdout))

    def step(self, text: str) -> None:
        """Say that something was done."""
        if not self._quiet:
            self._clear()
            click.secho(harmless(f"  {text}"), err=True, color=_wish(sys.stderr))

    def warn(self, text: str) -> None:
        """Say something that the user should know."""
        self._clear()
        click.secho(harmless(f"note: {text}"), err=True, fg="yellow", color=_wish(sys.stderr))

    def warn_of(self, error: ShiftbossError) -> None:
        """Say what is wrong with a part of what was asked, and what to do about it; the rest goes on."""
        self.warn(f"{error}. {error.hint}" if error.hint else str(error))

    def waiting(self, text: str) -> None:
        """Show what is being waited for: one line that is overwritten on a terminal, one line once elsewhere."""
        if self._quiet or text == self._busy:
            return
        self._clear()
        self._busy = text
        click.echo(harmless(f"  {text} …"), err=True, nl=not sys.stderr.isatty())

    def _clear(self) -> None:
        if self._busy and sys.stderr.isatty():
            click.echo("\r\033[K", err=True, nl=False)
        self._busy = ""


def _wish(stream: Any) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_json(value: object) -> None:
    """Print a result for programs."""
    click.echo(json_text(value, indent=2))


def json_text(value: object, indent: int | None = None) -> str:
    """Return a value as JSON, in which nothing can control a terminal."""
    import json  # people get tables

    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _BARE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns; the state words are coloured where colour is wanted."""
    lines = [tuple(headings), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    return "\n".join(_line(line, widths, heading=number == 0) for number, line in enumerate(lines))


def _line(cells: Sequence[str], widths: Sequence[int], *, heading: bool) -> str:
    padded = [" ".join(cell.split("\n")).ljust(width) for cell, width in zip(cells, widths, strict=True)]
    if heading:
        return _styled("  ".join(padded).rstrip(), bold=True)
    return "  ".join(_coloured(cell) for cell in padded).rstrip()


def _coloured(cell: str) -> str:
    colour = _STATE_COLOURS.get(cell.strip())
    return _styled(cell, fg=colour) if colour else cell


def _styled(text: str, **style: Any) -> str:
    return click.style(text, **style) if _wish(sys.stdout) else text


def duration(seconds: float | None) -> str:
    """Return a duration as people say it: 45s, 12m, 3h 20m, 5d 4h; `-` for None."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def size(amount: int | None) -> str:
    """Return bytes as people say them: 512K, 45M, 1.2G; `-` for None."""
    if amount is None:
        return "-"
    if amount < 1024**2:
        return f"{amount // 1024}K"
    if amount < 1024**3:
        return f"{amount // 1024**2}M"
    return f"{amount / 1024**3:.1f}G"
