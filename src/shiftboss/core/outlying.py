"""Projects that lie outside of the layout: a list of their directories, read at each start and hidden from all others.

It is a file of its own, and units only name it: a project that comes later restarts nobody.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from shiftboss.core.isolation import SHARED_PLACES
from shiftboss.core.spec import Site

_HEADER = """\
# Directories of projects outside of the layout: hidden from all other projects, from their next start on.
# Made by shiftboss from the project files; what is changed here is lost.
"""
_REASON = "# not hidden: "


class Home(NamedTuple):
    """Where a project lives and logs."""

    project: str
    root: str
    logs: str


def outlying_text(site: Site, homes: Iterable[Home], before: str, broken: Collection[str]) -> str:
    """Return the list, with a comment on what cannot be hidden; "" if all projects lie in the layout.

    `before`: its text up to now; what it says of projects whose file is `broken` stays.
    """
    known = sorted(Home(home.project, _plain(home.root), _plain(home.logs)) for home in homes)
    lines = [line for line in before.splitlines() if line.partition(" ")[0] in broken]
    owners = _owners(known)
    lines += [f"{home.project} {place}" for home in known for place in _outside(site, home, owners)]
    lines += [f"{_REASON}{words}" for words in _open(site, owners)]
    return _HEADER + "".join(f"{line}\n" for line in lines) if lines else ""


def unhidden(text: str, before: str) -> tuple[str, ...]:
    """Return in words what a list cannot hide that the one before did not say."""
    old = before.splitlines()
    return tuple(
        line.removeprefix("# ") for line in text.splitlines() if line.startswith(_REASON) and line not in old
    )


def _plain(path: str) -> str:
    """Return an absolute path without repeated or closing slashes."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _above(path: str) -> list[str]:
    """Return the directories that a path lies in."""
    parts = path.split("/")
    return ["/", *("/".join(parts[:length]) for length in range(2, len(parts)))]


def _owners(homes: Iterable[Home]) -> dict[str, list[str]]:
    """Return whose each directory is."""
    owners: dict[str, list[str]] = {}
    for home in homes:
        for place in dict.fromkeys(home[1:]):
            owners.setdefault(place, []).append(home.project)
    return owners


def _outside(site: Site, home: Home, owners: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the directories of a project that are not hidden with those of the layout: also those inside another's."""
    layout = {_plain(site.projects), _plain(site.logs)} - SHARED_PLACES
    for place in dict.fromkeys(home[1:]):
        above = _above(place)
        within = not layout.isdisjoint(above)
        nested = any(owner != home.project for parent in above for owner in owners.get(parent, ()))
        if (nested or not within) and place not in SHARED_PLACES and place.isprintable():
            yield place


def _open(site: Site, owners: Mapping[str, list[str]]) -> Iterator[str]:
    for place, names in sorted(owners.items()):
        if place in SHARED_PLACES:
            yield f"{place} of {', '.join(names)}: more than projects lives there"
        elif len(names) > 1:
            yield f"{place} from {' and '.join(names)}: it is a directory of each of them"
        elif place in (_plain(site.projects), _plain(site.logs)):
            yield f"{place} of {names[0]}: other projects live in it"
