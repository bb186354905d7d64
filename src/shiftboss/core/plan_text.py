"""A plan in words, and as the document of `plan --json`."""

from collections.abc import Iterator
from typing import Any

from shiftboss.core.plan import (
    Action,
    ChangeOwner,
    CreateFile,
    CreateUser,
    FurnishDirectory,
    MakeDirectory,
    Plan,
    ReloadEngine,
    RemoveFile,
    StartProcess,
    UpdateGroup,
    WriteFile,
    file_diff,
)


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """Return a line for each action that a user would call a change, then what restarts and what does not."""
    lines = [line for action in plan.actions if (line := _line(action))]
    if not plan.actions and not plan.conflicts:
        return ("nothing to change",)
    return (*lines, *_consequences(plan))


def _line(action: Action) -> str:
    match action:
        case WriteFile():
            return f"{'create' if action.before is None else 'change'} {action.path}"
        case RemoveFile():
            return f"remove {action.path}"
        case CreateUser() | FurnishDirectory() | MakeDirectory() | CreateFile():
            return _creation(action)
        case ChangeOwner():
            return f"give {action.path} to the engine that writes the logs (mode {action.mode:o})"
        case ReloadEngine():
            return _reload_line(action)
        case StartProcess():
            return f"start {action.target}"
        case UpdateGroup():
            return _group_line(action)


def _reload_line(action: ReloadEngine) -> str:
    starts = f"start {', '.join(action.starts)}" if action.starts else ""
    schedules = f"schedule {', '.join(action.schedules)}" if action.schedules else ""
    return "; ".join(part for part in (starts, schedules) if part)


def _creation(action: CreateUser | FurnishDirectory | MakeDirectory | CreateFile) -> str:
    if isinstance(action, CreateUser):
        return f"create the user and group {action.user} (system account, no login, home {action.home})"
    if isinstance(action, FurnishDirectory):
        return f"create {action.path} ({action.owner or 'root'}:{action.group}, mode {action.mode:o})"
    return f"create {action.path} (mode {action.mode:o})"


def _group_line(action: UpdateGroup) -> str:
    """Return nothing where processes end or restart: that is told for all of them together."""
    if action.change != "add" and action.restarts:
        return ""
    if action.change == "remove":
        return f"take {action.target} out of Supervisor"
    return f"start {action.target}"


def _consequences(plan: Plan) -> Iterator[str]:
    removed = {a.target for a in plan.actions if isinstance(a, UpdateGroup) and a.change == "remove"}
    ends = {address for a in plan.actions if isinstance(a, ReloadEngine) for address in a.ends}
    ending = [a for a in plan.restarts if a in ends or a.partition(":")[0] in removed]
    restarting = [address for address in plan.restarts if address not in ending]
    if ending:
        yield f"stops: {', '.join(ending)}"
    if restarting:
        yield f"restarts: {', '.join(restarting)}"
    if plan.untouched:
        yield f"untouched: {', '.join(plan.untouched)}"


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """Return the document of `plan --json`; conflicts and notes stand beside the actions."""
    return {
        "actions": [_action(action) for action in plan.actions],
        "conflicts": [
            {
                "target": c.target,
                "path": c.path,
                "reason": c.reason,
                "hint": c.hint,
                "remedy": c.remedy or None,
            }
            for c in plan.conflicts
        ],
        "notes": list(plan.notes),
    }


def _action(action: Action) -> dict[str, Any]:
    return {
        "kind": action.kind,
        "target": action.target,
        "path": getattr(action, "path", None),
        "diff": file_diff(action) or None,
        "restarts": list(getattr(action, "restarts", ())),
    }
