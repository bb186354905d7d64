"""Engine and keeper killed at random moments while schedules are due each second: nothing is doubled, nothing forgotten."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from engine_rig import ENGINE, EngineRig, engine_rig
from keeper_rig import until
from occurrence_check import faults, share_that_ran

SERVERS = 6  # beside each other: most of the time each of them waits
ENGINE_KILLS, KEEPER_KILLS = 270, 48  # in all
NAMES = ("brief", "long", "many")
LEAST_SHARE = 0.1  # measured on a machine with eight times the load it has cores for: 0.22 to 0.36
_CLAIM_SECONDS = 0.06  # so long after the full second claims, starts and first outcomes are being written


class Kills(NamedTuple):
    """What is killed on one server."""

    seed: str
    engine: int
    keeper: int


def _plan() -> list[Kills]:
    """Share the kills among the servers."""
    seed = os.environ.get("SHIFTBOSS_TESTS_SEED", "7")
    engine = int(os.environ.get("SHIFTBOSS_TESTS_ENGINE_KILLS", ENGINE_KILLS))
    keeper = int(os.environ.get("SHIFTBOSS_TESTS_KEEPER_KILLS", KEEPER_KILLS))
    return [
        Kills(f"{seed}.{server}", -(-engine // SERVERS), -(-keeper // SERVERS)) for server in range(SERVERS)
    ]


@pytest.mark.timeout(120 + 2 * sum(kills.engine + kills.keeper for kills in _plan()))
def test_engine_and_keeper_killed_at_random_moments_no_occurrence_is_doubled_or_unaccounted() -> None:
    """In the manner of Jepsen's test of Chronos: each run writes its name down, the history must fit to that."""
    plan, began = _plan(), time.monotonic()
    with ThreadPoolExecutor(SERVERS) as servers:
        shares = [share for each in servers.map(_torment, plan) for share in each]
    count = sum(kills.engine + kills.keeper for kills in plan)
    told = " ".join(f"{share:.2f}" for share in sorted(shares))
    print(f"{count} kills in {time.monotonic() - began:.0f} s; shares of the seconds that ran: {told}")


def _torment(kills: Kills) -> list[float]:
    """Kill on a server of its own, check what it tells, and return for each schedule the share of seconds that ran."""
    chance = random.Random(kills.seed)
    plan = ["engine"] * kills.engine + ["keeper"] * kills.keeper
    chance.shuffle(plan)
    with engine_rig() as rig:
        rig.expects_errors = True  # an engine says that its keeper is gone
        _launch(rig)
        until(lambda: len(rig.outcomes()) >= 3, "runs", 60)
        for victim in plan:
            _wait_for_the_moment(rig, chance)
            if victim == "engine":
                rig.kill_engine()
            else:
                rig.kill_keeper()
                rig.start(*ENGINE, "--state", str(rig.engine_state))
        _come_to_rest(rig)
        return [_checked(rig, f"app/{name}") for name in NAMES]


def _launch(rig: EngineRig) -> None:
    """Start three schedules, each run of which writes its name down first."""
    started = rig.root / "started"
    started.touch()
    started.chmod(0o666)
    say = f"echo $SHIFTBOSS_RUN >> {started}"
    rig.launch(
        *rig.schedule("brief", "/bin/sh", "-c", say),
        *rig.schedule("long", "/bin/sh", "-c", f"{say}; sleep 0.7", overlap="queue", catch_up="once"),
        *rig.schedule("many", "/bin/sh", "-c", f"{say}; sleep 1.4; exit 3", overlap="allow"),
    )


def _wait_for_the_moment(rig: EngineRig, chance: random.Random) -> None:
    """Wait for a random moment of one of three kinds: while it comes up, at work, in the midst of claims and starts."""
    kind = chance.choice(("coming up", "at work", "claiming"))
    if kind == "coming up":
        time.sleep(chance.random() * 0.7)
        return
    started = rig.root / "started"
    size = started.stat().st_size
    until(lambda: started.stat().st_size > size, "a run", 60)
    if kind == "at work":
        time.sleep(chance.random())
    else:
        time.sleep(1 - time.time() % 1 + chance.random() * _CLAIM_SECONDS)


def _come_to_rest(rig: EngineRig) -> None:
    before = len(rig.outcomes())
    until(lambda: len(rig.outcomes()) > before + 9, "runs after it all", 60)
    with rig.client() as client:
        client.pause("app")
        until(lambda: not any(s.running or s.waiting for s in client.schedules().schedules), "rest", 60)


def _checked(rig: EngineRig, target: str) -> float:
    rows = rig.occurrences(target)
    names = [name for name in (rig.root / "started").read_text().split() if f"/{target}/" in name]
    wrong = faults(rows, names)
    assert not wrong, f"{target}: {len(wrong)} faults among {len(rows)} occurrences: {wrong[:8]}"
    share = share_that_ran(rows)
    assert share >= LEAST_SHARE, f"{target}: only {share:.0%} of the seconds ran"
    return share
