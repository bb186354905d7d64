"""Printing log lines: with several logs each line begins with its unit, each unit in a colour of its own."""

import os
import sys
from collections.abc import Sequence

import click

from shiftboss.core.log_lines import harmless

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")


class Printer:
    """Prints lines of these units."""

    def __init__(self, addresses: Sequence[str]) -> None:
        width = max((len(address) for address in addresses), default=0) if len(addresses) > 1 else 0
        self._prefixes = {address: _prefix(address, width, n) for n, address in enumerate(addresses)}

    def print(self, address: str, line: str) -> None:
        """Print a line; on a terminal what could harm it is made harmless."""
        shown = harmless(line) if sys.stdout.isatty() else line
        click.echo(self._prefixes.get(address, f"{address} | ") + shown, color=True)

    @staticmethod
    def flush() -> None:
        """Let what was printed be seen at once."""
        sys.stdout.flush()


def _prefix(address: str, width: int, number: int) -> str:
    if not width:
        return ""
    text = f"{address.ljust(width)} | "
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, fg=_COLOURS[number % len(_COLOURS)]) if coloured else text
