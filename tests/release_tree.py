"""A release made of texts: the reading half of the Files port over a dictionary, and a project that stands there."""

import posixpath
from collections.abc import Mapping
from typing import Any, cast

from shiftboss.core.errors import HostError
from shiftboss.core.facts import PathFacts
from shiftboss.core.release import ReleaseFacts
from shiftboss.core.spec import Account, Project
from shiftboss.host.ports import Files
from shiftboss.setup.detect import read_release

ACCOUNT = Account("shop_user", 1500, 1500, "shop_user", "/home/shop_user")
PROJECT = Project("shop", "/srv/shop", "/var/log/shop", ACCOUNT)


class ReleaseTree:
    """Files below `/srv/shop/current`; a name that ends in `/` is a directory, None a file nobody may read."""

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self._texts = {posixpath.normpath(f"{PROJECT.current}/{path}"): text for path, text in texts.items()}
        self._directories = {
            posixpath.normpath(f"{PROJECT.current}/{path}") for path in texts if path.endswith("/")
        }
        self.read: list[str] = []

    def read_as(self, account: Account, path: str, *, limit: int) -> str | None:
        assert account == ACCOUNT
        self.read.append(path)
        text = self._texts.get(path)
        return None if text is None or len(text) > limit else text

    def stat(self, path: str) -> PathFacts | None:
        if path in self._directories:
            return PathFacts(1500, 1500, 0o755, "directory")
        return PathFacts(1500, 1500, 0o644, "file") if path in self._texts else None

    def real_path(self, path: str) -> str | None:
        return path if path in self._texts else None

    def programs(self, words: tuple[str, ...], path: str) -> dict[str, str]:
        """Look words up as a machine would that has every program in /usr/bin and the tree's own."""
        found = {}
        for word in words:
            places = [f"{directory}/{word}" for directory in path.split(":")]
            found[word] = next((place for place in places if place in self._texts), f"/usr/bin/{word}")
        return found


class ClosedTree(ReleaseTree):
    """A machine that refuses everything."""

    def read_as(self, account: Account, path: str, *, limit: int) -> str | None:
        raise HostError(f"cannot read {path}: input/output error")

    def stat(self, path: str) -> PathFacts | None:
        raise HostError(f"cannot look at {path}: permission denied")


def facts_of(texts: Mapping[str, str | None]) -> ReleaseFacts:
    """Return what is known of a release with these files."""
    return facts_in(ReleaseTree(texts))


def facts_in(tree: ReleaseTree) -> ReleaseFacts:
    """Return what is known of a tree."""
    return read_release(cast(Files, cast(Any, tree)), ACCOUNT, PROJECT.current)
