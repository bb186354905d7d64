"""On what a keeper test runs: each kind of cgroup that this machine has, none at all, and an ordinary user."""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from keeper_rig import Rig, rig

from shiftboss.confine import cgroup


class Kind(NamedTuple):
    cgroups: str
    user: str = ""


KINDS = [Kind("v2"), Kind("v1"), Kind("none"), Kind("auto", "games")]


def every_kind(function: object) -> object:
    """Run a test on every kind of keeper."""
    names = ["root-v2", "root-v1", "root-none", "user"]
    return pytest.mark.parametrize("kind", KINDS, ids=names)(function)


@contextlib.contextmanager
def keeper_of(kind: Kind) -> Iterator[Rig]:
    """Give a rig of a kind, or skip the test where this machine cannot have it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if kind.cgroups in ("v1", "v2"):
        tree = cgroup.find_tree(f"shiftboss-probe-{os.getpid()}", (kind.cgroups,))
        if tree is None:
            pytest.skip(f"this machine has no cgroup {kind.cgroups} for us")
        cgroup.remove(tree.top)
    with rig(*kind) as made:
        yield made
