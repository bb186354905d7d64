"""A server in memory that answers the questions of backends and performs their file actions."""

import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from shiftboss.core.facts import (
    EngineAccount,
    FindEngineAccount,
    FindGround,
    FindLauncher,
    PathFacts,
    Query,
    ReadFile,
    ReadMatching,
    StatPath,
)
from shiftboss.core.limits import Ground
from shiftboss.core.plan import CreateFile, MakeDirectory, Plan, RemoveFile, WriteFile
from shiftboss.core.spec import Account, Environment, Project, Schedule, Site

ACCOUNT = Account("myapp_user", 1001, 1002, "myapp", "/home/myapp_user")
PHP = ("/usr/bin/php", "artisan", "schedule:run", "--no-ansi")
DIRECTORY = PathFacts(0, 0, 0o755, "directory")


def project(environment: Environment = (), account: Account = ACCOUNT, **paths: str) -> Project:
    places = {"root": "/infra/projects/myapp", "logs": "/infra/logs/projects/myapp"} | paths
    return Project("myapp", places["root"], places["logs"], account, environment)


def site(*, system: bool = True) -> Site:
    return Site(
        config_file="/etc/shiftboss/config.toml",
        projects_d="/etc/shiftboss/projects",
        state="/var/lib/shiftboss",
        run="/run/shiftboss",
        projects="/infra/projects",
        logs="/infra/logs/projects",
        user="{project}_user",
        system=system,
    )


def schedule(
    name: str = "scheduler",
    cron: str = "* * * * *",
    argv: tuple[str, ...] = PHP,
    of: Project | None = None,
    **more: object,
) -> Schedule:
    """Return a schedule; where cron runs it, as a plain line."""
    usual = Schedule(of or project(), name, "custom", "cron", cron, argv, plain=True)
    return Schedule(**{f: getattr(usual, f) for f in usual.__slots__} | more)


@dataclass
class SmallServer:
    """Facts of paths and texts of files; everything it makes as root belongs to root."""

    facts: dict[str, PathFacts] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def with_directories(cls, *paths: str) -> "SmallServer":
        return cls(dict.fromkeys(paths, DIRECTORY))

    def put(self, path: str, text: str, uid: int = 0, mode: int = 0o644) -> None:
        self.texts[path] = text
        self.facts[path] = PathFacts(uid, 0, mode, "file")

    def answers(self, queries: Iterable[Query]) -> dict[Query, object]:
        return {query: self._answer(query) for query in queries}

    def perform(self, plan: Plan) -> None:
        assert not plan.conflicts
        for action in plan.actions:
            match action:
                case MakeDirectory():
                    kind = "directory"
                    self.facts.setdefault(action.path, PathFacts(action.uid, action.gid, action.mode, kind))
                case CreateFile():
                    self.facts.setdefault(action.path, PathFacts(action.uid, action.gid, action.mode, "file"))
                case WriteFile():
                    assert self.texts.get(action.path) == action.before
                    self.put(action.path, action.content, mode=action.mode)
                case RemoveFile():
                    assert self.texts.pop(action.path) == action.before
                    del self.facts[action.path]
                case _:
                    raise AssertionError(action)

    def _answer(self, query: Query) -> object:
        match query:
            case ReadFile(path):
                return self.texts.get(path)
            case StatPath(path):
                return self.facts.get(path)
            case FindGround():
                return Ground(v2=frozenset({"memory", "cpu", "pids", "io"}))
            case FindLauncher():
                return ("/opt/python", "-I", "-S", "/opt/launcher/main.py")
            case FindEngineAccount():
                return EngineAccount(53_970, 53_970)
            case ReadMatching(directory, pattern):
                inside = {p: t for p, t in self.texts.items() if os.path.dirname(p) == directory}
                return {p: t for p, t in inside.items() if fnmatch.fnmatch(os.path.basename(p), pattern)}
            case _:
                raise AssertionError(query)
