"""What artisan can do in which version of Laravel. Versions as in composer.lock: `10.48.2`, `v8.83.26`, `dev-main`."""

import re
from collections.abc import Sequence

_VERSION = re.compile(r"v?(\d{1,4})(?:\.(\d{1,4}))?")

# first releases that have them, by the tags of laravel/framework
_HAS_LIST = (8, 19)
_HAS_CLEAR = (8, 78)
_TELLS_FAILURES, _TELLS_NO_MORE = (9, 21), (12, 4)
_HAS_INTERRUPT = (10, 15)
_HAS_REPEATS, _LISTS_REPEATS = (10, 15), (10, 16)
_HAS_JSON = (11, 50)

ARTISAN = ("php", "artisan")


def has_list(version: str | None) -> bool:
    """Tell whether there is `schedule:list` (8.19); True where the version is not known: it can be tried."""
    return _at_least(version, _HAS_LIST)


def has_json_list(version: str | None) -> bool:
    """Tell whether `schedule:list` knows `--json` (11.50); True where the version is not known."""
    return _at_least(version, _HAS_JSON)


def tells_failures(version: str | None) -> bool | None:
    """Tell whether `schedule:run` says by itself which task failed: 9.21 to 12.3 do, None for an unknown version.

    Earlier ones say nothing, later ones say DONE of everything (see laravel_run.py).
    """
    if _VERSION.match(version or "") is None:
        return None
    return _at_least(version, _TELLS_FAILURES) and not _at_least(version, _TELLS_NO_MORE)


def lists_repeats(version: str | None) -> bool | None:
    """Tell whether `schedule:list` shows which tasks repeat within the minute (10.16); None: no task can (before 10.15).

    False where the version is not known.
    """
    if _VERSION.match(version or "") is None:
        return False
    return _at_least(version, _LISTS_REPEATS) if _at_least(version, _HAS_REPEATS) else None


def interrupt_command(version: str | None, artisan: Sequence[str] = ARTISAN) -> tuple[str, ...] | None:
    """Return the command that ends the `schedule:run` which repeats tasks within the minute, None if there is none.

    `schedule:interrupt` came with such tasks, in 10.15. It only sets a mark in the application's cache, so it must
    be run as the project's user, in the release. Of an unknown version the command is returned: it may fail.
    """
    return (*artisan, "schedule:interrupt") if _at_least(version, _HAS_INTERRUPT) else None


def clear_command(version: str | None, artisan: Sequence[str] = ARTISAN) -> tuple[str, ...]:
    """Return the command that frees the locks of `withoutOverlapping`, of all tasks at once.

    `schedule:clear-cache` came in 8.78; before it only the whole cache can be emptied.
    """
    return (*artisan, "schedule:clear-cache" if _at_least(version, _HAS_CLEAR) else "cache:clear")


def _at_least(version: str | None, first: tuple[int, int]) -> bool:
    found = _VERSION.match(version or "")
    return found is None or (int(found[1]), int(found[2] or 10**4)) >= first
