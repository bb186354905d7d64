"""What Supervisor has that we must not touch unasked: files and programs that are not ours, or not as we left them."""

import re

from shiftboss.backends.supervisor_names import supervisor_name
from shiftboss.backends.supervisor_seen import Seen, path_of
from shiftboss.core.managed import read_seal
from shiftboss.core.plan import Conflict, Plan
from shiftboss.core.spec import Worker

_SECTION = re.compile(r"(?m)^\[([^\]\n]+)\]")
_ROOT = 0


def wrong_user(seen: Seen) -> Plan:
    """Refuse a daemon that would run the workers as somebody else than the project's user."""
    account, site = seen.wanted.project.account, seen.wanted.site
    if not seen.wanted.units or seen.daemon_uid == account.uid or (site.system and seen.daemon_uid == _ROOT):
        return Plan()
    if site.system:
        reason = f"Supervisor runs as uid {seen.daemon_uid} and cannot start programs as {account.name}"
        hint = "Let supervisord run as root, or set up this project as the user that it runs as."
    else:
        reason = f"Supervisor runs as uid {seen.daemon_uid}, so the workers would not run as {account.name}"
        hint = "Run the command as root (sudo), or name a Supervisor of your own under [supervisor] in config.toml."
    return Plan(conflicts=(Conflict(seen.wanted.project.name, site.supervisor.conf_dir, reason, hint),))


def in_the_way(seen: Seen, worker: Worker) -> Conflict | None:
    """Return what we must not touch unasked: files and programs that are not ours, or not as we left them."""
    path = path_of(seen.wanted, worker)
    group = supervisor_name(worker.project.name, worker.name)
    facts, text = seen.paths[path], seen.files.get(path)
    if seen.names[group] > 1:
        return _twice(worker, path, group)
    if facts is not None and facts.type != "file":
        return Conflict(
            worker.address,
            path,
            f"{path} is not a regular file but a {facts.type}",
            f"Look at it (ls -ld {path}) and move it away.",
        )
    if text is None:
        return _elsewhere(worker, path, group) if group in seen.groups else None
    return _not_ours(seen, worker, path, text)


def _twice(worker: Worker, path: str, group: str) -> Conflict:
    return Conflict(
        worker.address,
        path,
        f"two workers would be called {group} in Supervisor",
        "Give one of them another name.",
    )


def _elsewhere(worker: Worker, path: str, group: str) -> Conflict:
    return Conflict(
        worker.address,
        path,
        f"Supervisor already has a program {group}, and not from {path}",
        f"Find its file (grep -r 'program:{group}' /etc/supervisor*) and remove the program there; if the file is "
        f"gone already, run: supervisorctl update {group}",
    )


def _not_ours(seen: Seen, worker: Worker, path: str, text: str) -> Conflict | None:
    found = read_seal(text)
    if found is None:
        return _foreign(seen, worker, path, text)
    if found.address != worker.address:
        return Conflict(
            worker.address,
            path,
            f"{path} belongs to {found.address}",
            "Give one of the two workers another name.",
        )
    if found.intact or seen.override.force:
        return None
    return Conflict(
        worker.address,
        path,
        f"{path} was changed by hand since shiftboss wrote it",
        "Put the change into the project file, then overwrite the hand edit with --force.",
        "--force",
    )


def _foreign(seen: Seen, worker: Worker, path: str, text: str) -> Conflict | None:
    others = set(_SECTION.findall(text)) - {f"program:{supervisor_name(worker.project.name, worker.name)}"}
    if others:
        return Conflict(
            worker.address,
            path,
            f"{path} was not written by shiftboss, and it also holds [{min(others)}]",
            "Move what is in it to a file of another name, or give the worker another name.",
        )
    if seen.override.adopt:
        return None
    return Conflict(
        worker.address,
        path,
        f"{path} exists and was not written by shiftboss",
        "Remove it, or take it over with --adopt (a copy is kept).",
        "--adopt",
    )
