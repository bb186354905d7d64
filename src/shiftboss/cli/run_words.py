"""What `shiftboss run` says of a run that goes on without it, whatever starts it."""

from shiftboss.cli.output import Console

INTERRUPTED = 130


def tell_detached(console: Console, target: str, outcome: str | None, reason: str, *, has_begun: bool) -> int:
    """Say whether a run that nobody waits for has begun, will not (`outcome`), or waits; return the exit status."""
    if outcome and not has_begun:
        words = f"{target}: {outcome.replace('_', ' ')}{': ' if reason else ''}{reason}"
        console.print(words, colour="red")
        return 1
    lot = "is started" if has_begun else "waits for its turn"
    console.print(f"{target} {lot}; see: shiftboss why {target}")
    return 0


def tell_left(console: Console, target: str) -> int:
    """Say that Ctrl-C ends only the looking on; return the exit status."""
    console.warn(f"{target} runs on; see: shiftboss why {target}")
    return INTERRUPTED
