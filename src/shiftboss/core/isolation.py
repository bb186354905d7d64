"""How far a unit is shut in: levels -> the steps that confine/isolation.py takes, and what a machine lacks for them."""

import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from shiftboss.core.errors import UserError
from shiftboss.core.limits import Ground, fallbacks, rlimits, v1_values, v2_values, within
from shiftboss.core.spec import Isolation, IsolationLevel, Project, Schedule, Site, Unit

if TYPE_CHECKING:
    from shiftboss.core.wire.entry import Confinement, Entry

Steps = tuple[tuple[str, ...], ...]
UMASK = {"none": 0o022, "standard": 0o027, "strict": 0o027}
# holding more than projects: hiding all of one of these but a project would take the system away from it
SHARED_PLACES = frozenset(
    {
        "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/log", "/var/run", "/var/tmp",  # noqa: S108 -- named, not used
    }
)  # fmt: skip
# of 1000: workers go before the database and cron when the machine itself runs out of memory (proc(5))
_OOM_SCORE = "200"
_TMP_BYTES = 256 * 1024**2
_TMP_DIRECTORIES = ("/tmp", "/var/tmp")  # noqa: S108 -- covered by private ones, not used


class Places(Struct, frozen=True):
    """The directories that matter to a project's isolation; all absolute, links not resolved.

    `parents` hold a directory for each project (the layout's, and those of this project's own): hidden but for
    `own` (root, logs, home). `writable`: what stays so under `strict`. `outlying`: the list of what else is hidden,
    directories of projects outside of the layout (core/outlying.py), "" for none.
    """

    parents: tuple[str, ...]
    own: tuple[str, ...]
    writable: tuple[str, ...]
    outlying: str = ""


def places(project: Project, site: Site) -> Places:
    """Return the places of a project; a directory that holds more than projects is not among `parents`."""
    homes = (project.root, project.logs)
    # an account with the home / or /var would else keep everything visible
    own = homes if project.account.home in SHARED_PLACES else (*homes, project.account.home)
    writable = (f"{project.root}/shared", project.logs)
    return Places(_hideable(_wished(project, site), own), own, writable, outlying_path(site))


def outlying_path(site: Site) -> str:
    """Return where the list of directories outside of the layout is."""
    return f"{site.state}/outlying"


def _wished(project: Project, site: Site) -> set[str]:
    return {site.projects, site.logs, posixpath.dirname(project.root), posixpath.dirname(project.logs)}


def _hideable(parents: Iterable[str], own: Iterable[str]) -> tuple[str, ...]:
    """Return the directories to hide: outermost only, and none that is or lies in one of the project's own."""
    kept: list[str] = []
    for parent in sorted(set(parents) - SHARED_PLACES):
        if not any(is_inside(parent, place) for place in [*kept, *own]):
            kept.append(parent)
    return tuple(kept)


def is_inside(path: str, place: str) -> bool:
    """Tell whether a path is a place or below it."""
    return path == place or path.startswith(place.rstrip("/") + "/")


def default_level(unit: Unit) -> IsolationLevel:
    """Return the isolation of a unit that asks for none: the classic plain forms have none."""
    return "standard" if unit.backend == "native" else "none"


def takes_privileges(asked: Isolation, level: IsolationLevel) -> bool:
    """Tell whether setuid and setgid programs give no rights (no_new_privs, prctl(2)) to a unit at this level."""
    return level != "none" if asked.no_new_privs is None else asked.no_new_privs


def level_of(asked: Isolation, default: IsolationLevel) -> IsolationLevel:
    """Return the level of a unit. `default`: "standard" on native; where a classic plain form is written, "none"."""
    return asked.level or default


def steps(asked: Isolation, level: IsolationLevel, where: Places, tmp_bytes: int = _TMP_BYTES) -> Steps:
    """Return what confine/isolation.py shall do, in this order; every row begins with the name of the step."""
    rows: list[tuple[str, ...]] = []
    if level != "none":
        rows += [
            ("oom_score", _OOM_SCORE),
            ("keys",),
            ("mounts",),
            *(("hide", parent, *_below(where.own, parent)) for parent in where.parents),
        ]
        if where.outlying:
            rows.append(("outlying", where.outlying, *where.own))
        rows.append(("proc",))
    if level == "strict":
        rows.append(("read_only", *where.writable))
        rows += [("tmp", tmp, str(tmp_bytes), *_seen_below(where, tmp)) for tmp in _TMP_DIRECTORIES]
        rows += [("devices",), ("capabilities",)]
    if asked.private_network:
        rows.append(("network",))
    if takes_privileges(asked, level):
        rows.append(("no_new_privs",))
    return tuple(rows)


def _below(paths: Iterable[str], parent: str) -> list[str]:
    """Return the paths below a directory, without those that lie in another of them."""
    found: list[str] = []
    for path in sorted({path for path in paths if path != parent and is_inside(path, parent)}):
        if not any(is_inside(path, above) for above in found):
            found.append(path)
    return found


def _seen_below(where: Places, tmp: str) -> list[str]:
    """Return what must stay visible below /tmp: projects may live there, on a machine for trying things out."""
    return _below([*where.parents, *where.own], tmp)


def confinement(unit: Unit, site: Site, default: IsolationLevel, *, watched: bool) -> "Confinement":
    """Return how a unit is bounded and shut in. `watched`: an engine watches its memory (see limits.v2_values)."""
    from shiftboss.core.wire.entry import Confinement  # for a manifest only: a status does not need it

    budget = unit.project.budget
    own = within(unit.limits, budget)
    level = level_of(unit.isolation, default)
    return Confinement(
        v2=v2_values(own, watched=watched),
        v1=v1_values(own, watched=watched),
        budget_v2=v2_values(budget, watched=True),
        budget_v1=v1_values(budget, watched=True),
        fallbacks=fallbacks(own),
        nice=own.nice,
        steps=steps(unit.isolation, level, places(unit.project, site), _tmp_bytes(own.memory_bytes)),
    )


def _tmp_bytes(memory_bytes: int) -> int:
    # a private /tmp lies in memory and counts as the unit's own: full, it shall leave room to work
    return min(_TMP_BYTES, memory_bytes // 2) if memory_bytes else _TMP_BYTES


def confined(entry: "Entry", unit: Unit, site: Site, default: IsolationLevel, *, watched: bool) -> "Entry":
    """Return a manifest entry with limits and isolation of its unit; its revision is not made here."""
    level = level_of(unit.isolation, default)
    core = {"CORE": (0, 0)} if level != "none" else {}
    return entry._replace(
        umask=UMASK[level],
        rlimits=entry.rlimits | core | rlimits(unit.limits),
        confinement=confinement(unit, site, default, watched=watched),
    )


def needs_launcher(unit: Unit) -> bool:
    """Tell whether a backend that is not ours starts this unit through the launcher.

    Supervisor for what it cannot do itself: confine, or read a file of variables. Cron for everything but plain lines,
    since the launcher also watches over their runs.
    """
    if isinstance(unit, Schedule):
        return not unit.plain
    return is_bounded(unit) or bool(unit.env_file)


def is_bounded(unit: Unit) -> bool:
    """Tell whether a unit asks for limits or isolation."""
    plain = type(unit.limits)()
    asked = unit.isolation
    return bool(
        unit.limits != plain
        or unit.project.budget != plain
        or (asked.level and asked.level != "none")
        or asked.no_new_privs
        or asked.private_network
    )


def refuse_bounds(unit: Unit) -> None:
    """Raise UserError for limits or isolation on a plain line of cron: they must not be passed over."""
    if not is_bounded(unit):
        return
    budget = unit.project.budget != type(unit.project.budget)()
    what = f"the budget of {unit.project.name}" if budget else f"limits or isolation of {unit.address}"
    raise UserError(
        f"a plain line of {unit.backend} cannot hold {what}",
        hint=f"Remove plain = true of {unit.address} from the project's file, then: shiftboss apply",
    )


def shortfalls(unit: Unit, site: Site, default: IsolationLevel, ground: Ground) -> tuple[str, ...]:
    """Return, in words for plan and status, what of the isolation this machine or layout cannot give."""
    level = level_of(unit.isolation, default)
    found: list[str] = []
    if level != "none":
        found += _unhidden(unit.project, site)
        if not ground.root:
            found.append("other projects and their processes are not hidden: that needs root")
        elif not ground.namespaces:
            found.append("other projects and their processes are not hidden: no mount namespaces here")
    if level == "strict" and not (ground.root and ground.namespaces):
        found.append("the file system is not read-only and /tmp is not private: no mount namespaces here")
    if unit.isolation.private_network and not (ground.root and ground.namespaces):
        found.append("it has no network of its own: that needs root and namespaces")
    return tuple(found)


def _unhidden(project: Project, site: Site) -> list[str]:
    """Say which directories cannot be hidden since they hold more than projects, or lie in the project's own."""
    shared = sorted(_wished(project, site) & SHARED_PLACES)
    visible = places(project, site).own
    own = [
        place
        for place in sorted({site.projects, site.logs} - SHARED_PLACES)
        if any(is_inside(place, mine) for mine in visible)
    ]
    return [
        *(f"what else is in {place} is not hidden: more than projects lives there" for place in shared),
        *(f"what else is in {place} is not hidden: it is a directory of {project.name}" for place in own),
    ]
