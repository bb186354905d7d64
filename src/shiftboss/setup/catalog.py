"""The project files of this server: reading them, and finding what is wrong between them."""

import os
from collections.abc import Mapping

from msgspec import Struct

from shiftboss.core.config import project_file
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.names import check_name, suggest
from shiftboss.core.self_service import FILE, NotAdmittedError, admitted, released_names
from shiftboss.core.spec import Site
from shiftboss.core.tables import ProjectFile
from shiftboss.host.ports import Files


class Entry(Struct, frozen=True):
    """One project file: where it is, its text, and what it says.

    `tables` has also what the project's release declares, as far as root lets it (`self_service`): the units
    `released`, by the file `offer`; `own` is root's file alone. `refused`: why a release's file that was in force is not.
    """

    path: str
    text: str
    tables: ProjectFile
    own: ProjectFile
    released: frozenset[str] = frozenset()
    offer: str = ""
    refused: ShiftbossError | None = None


class Catalog(Struct, frozen=True):
    """All project files: those that can be used, and an error for each that cannot."""

    entries: Mapping[str, Entry]
    errors: Mapping[str, ShiftbossError]

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a project, None if it has no file; raise the error if its file is broken."""
        check_name(name, "project")
        if name in self.errors:
            raise self.errors[name]
        return self.entries.get(name)

    def require(self, name: str) -> Entry:
        """Return the entry of a project; raise UserError if it has none."""
        entry = self.entry(name)
        if entry is None:
            known = (
                f"Known projects: {', '.join(sorted(self.entries))}."
                if self.entries
                else "No project is set up yet."
            )
            raise UserError(
                f"unknown project '{name}'{suggest(name, self.entries)}",
                hint=f"{known} Add one: shiftboss project add {name}",
            )
        return entry


def project_path(site: Site, name: str) -> str:
    """Return the path of the file of a project."""
    return f"{site.projects_d}/{name}.toml"


def offer_path(site: Site, name: str, own: ProjectFile) -> str:
    """Return where a project's release may declare units."""
    return f"{own.project.root or f'{site.projects}/{name}'}/current/{FILE}"


def accepted_directory(site: Site) -> str:
    """Return the directory of the files of releases that are in force."""
    return f"{site.state}/self_service"


def accepted_path(site: Site, name: str) -> str:
    """Return where root keeps the file of a release that is in force."""
    return f"{accepted_directory(site)}/{name}.toml"


def make_entry(files: Files, site: Site, name: str, path: str, text: str) -> Entry:
    """Return the entry of a project file with what its release declares and `apply` accepted before.

    Root's file has the last word: what it does not allow any more is left out. Raises UserError for the file itself.
    """
    own = project_file(text, path)
    accepted = files.read(accepted_path(site, name)) if own.project.self_service else None
    if accepted is None:
        return Entry(path, text, own, own)
    try:
        return entry_with(path, text, own, accepted, offer_path(site, name, own))
    except NotAdmittedError as error:
        return Entry(path, text, own, own, refused=error)


def entry_with(path: str, text: str, own: ProjectFile, offered: str, offer: str) -> Entry:
    """Return the entry of a project file with the units of a release's file; raises NotAdmittedError."""
    merged = admitted(offered, own, offer)
    return Entry(path, text, merged, own, released_names(merged, own), offer)


def load_catalog(files: Files, site: Site) -> Catalog:
    """Read all project files; a broken one becomes an error of its own and hides no other."""
    entries: dict[str, Entry] = {}
    errors: dict[str, ShiftbossError] = {}
    for path in _paths(files, site):
        name = os.path.basename(path).removesuffix(".toml")
        try:
            check_name(name, "project")
            text = files.read(path)
            if text is not None:
                entries[name] = make_entry(files, site, name, path, text)
        except UserError as error:
            errors[name] = error if error.where else UserError(error.message, where=path, hint=error.hint)
        except HostError as error:
            errors[name] = error
    _refuse_twice(entries, errors, site)
    return Catalog(entries, errors)


def _paths(files: Files, site: Site) -> tuple[str, ...]:
    if files.stat(site.projects_d) is None:
        return ()
    return files.matching(site.projects_d, "*.toml")


def _refuse_twice(entries: dict[str, Entry], errors: dict[str, ShiftbossError], site: Site) -> None:
    """Two files that describe the same directory would run everything in it twice."""
    seen: dict[str, str] = {}
    for name, entry in list(entries.items()):
        root = os.path.normpath(entry.tables.project.root or f"{site.projects}/{name}")
        if root in seen:
            errors[name] = UserError(
                f"describes the same project as {entries[seen[root]].path} ({root})",
                where=entry.path,
                hint="Keep one of the two files: everything in both would run twice.",
            )
            del entries[name]
        else:
            seen[root] = name
