"""Groups that Supervisor was about to take over: remembered, so that an interruption is made good by the next run.

After a reread the files are new while Supervisor still runs the old programs, and nothing that it tells shows it.
"""

from collections.abc import Iterable

import msgspec

from shiftboss.core.errors import ShiftbossError
from shiftboss.core.plan import UpdateGroup, WriteFile
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


def begun(files: Files, site: Site, groups: Iterable[UpdateGroup]) -> tuple[WriteFile, ...]:
    """Return the action that records updates, to be performed together with their files; none if none is needed.

    A group that Supervisor does not know yet needs no memory: the next plan sees that it is missing.
    """
    new = [group for group in groups if group.change != "add"]
    if not new:
        return ()
    names = {group.group for group in new}
    text = _encoded([*(old for old in remembered(files, site) if old.group not in names), *new])
    return (WriteFile("unfinished", _path(site), text, files.read(_path(site)), _MODE),)


def finished(files: Files, site: Site, groups: Iterable[UpdateGroup]) -> None:
    """Take updates off the record."""
    done, before = {group.group for group in groups}, remembered(files, site)
    left = [group for group in before if group.group not in done]
    if not left:
        files.remove(_path(site))
    elif len(left) < len(before):
        files.commit(files.stage(_path(site), _encoded(left), _MODE), _path(site))


def _encoded(groups: Iterable[UpdateGroup]) -> str:
    return msgspec.json.encode(list(groups)).decode()


def _path(site: Site) -> str:
    return f"{site.state}/unfinished.json"
