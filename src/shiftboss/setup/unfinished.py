"""Groups that Supervisor was about to take over: remembered, so that an interruption is made good by the next run.

After a reread the files are new while Supervisor still runs the old programs, and nothing that it tells shows it.
"""

import msgspec

from shiftboss.core.errors import ShiftbossError
from shiftboss.core.plan import UpdateGroup
from shiftboss.core.spec import Site
from shiftboss.host.ports import Files

_MODE = 0o600


def remembered(files: Files, site: Site) -> tuple[UpdateGroup, ...]:
    """Return the updates that were begun and not finished; an unreadable record counts as none."""
    try:
        text = files.read(_path(site)) or "[]"
        return tuple(msgspec.json.decode(text, type=list[UpdateGroup]))
    except (ShiftbossError, msgspec.MsgspecError):
        return ()


def remember(files: Files, site: Site, groups: list[UpdateGroup]) -> None:
    """Record the updates that are still to be done; none removes the record."""
    if not groups:
        files.remove(_path(site))
        return
    files.make_directory(site.state, 0, 0, 0o755)
    files.commit(files.stage(_path(site), msgspec.json.encode(groups).decode(), _MODE), _path(site))


def _path(site: Site) -> str:
    return f"{site.state}/unfinished.json"
