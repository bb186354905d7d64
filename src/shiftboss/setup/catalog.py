"""The project files of this server: reading them, and finding what is wrong between them."""

import os
from collections.abc import Mapping

from msgspec import Struct

from shiftboss.core.config import project_file
from shiftboss.core.errors import HostError, ShiftbossError, UserError
from shiftboss.core.names import check_name, suggest
from shiftboss.core.spec import Site
from shiftboss.core.tables import ProjectFile
from shiftboss.host.ports import Files


class Entry(Struct, frozen=True):
    """One project file: where it is, its text, and what it says."""

    path: str
    text: str
    tables: ProjectFile


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
                entries[name] = Entry(path, text, project_file(text, path))
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
