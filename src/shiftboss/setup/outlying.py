"""Keeps the list of directories outside of the layout, which each start hides from other projects."""

from collections.abc import Mapping

from shiftboss.core.isolation import outlying_path
from shiftboss.core.outlying import Home, outlying_text, unhidden
from shiftboss.core.plan import Plan, RemoveFile, WriteFile
from shiftboss.core.resolve import home_of
from shiftboss.core.spec import Site
from shiftboss.core.tables import ProjectFile
from shiftboss.host.machine import Machine
from shiftboss.setup.catalog import Catalog

_PRIVATE = 0o600  # it names other projects' directories


def plan_outlying(
    machine: Machine, site: Site, catalog: Catalog, name: str = "", tables: ProjectFile | None = None
) -> Plan:
    """Return what makes the list true, with `name` being as in `tables` (None: gone) and all others as they are."""
    if not site.system:
        return Plan()
    projects: Mapping[str, ProjectFile] = {p: e.tables for p, e in catalog.entries.items() if p != name}
    if tables is not None:
        projects = {**projects, name: tables}
    path = outlying_path(site)
    before = machine.files.read(path)
    homes = [Home(project, *home_of(site, project, table.project)) for project, table in projects.items()]
    text = outlying_text(site, homes, before or "", catalog.errors.keys() - {name})
    if text == (before or ""):
        return Plan()
    if not text:
        return Plan(actions=(RemoveFile(name or "projects", path, before or ""),))
    write = WriteFile(name or "projects", path, text, before, _PRIVATE)
    return Plan(actions=(write,), notes=unhidden(text, before or ""))
