"""The scenes in which a real machine's clock is set (tests/e2e/test_service.py), played against the agenda alone."""

import tomllib
from typing import Any
from zoneinfo import ZoneInfo

from schedule_world import World
from tests.e2e.systemd import clock_scenes
from tests.e2e.systemd.clock_scenes import LEGS, WATCHED

from shiftboss.core.cron import parse
from shiftboss.core.occurrence import Row
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.timing import EveryTiming, cron_timing

LOOK_SECONDS = 0.25  # as short as the runs are


def begun() -> World:
    """Return an engine with the schedules of the scenes."""
    wanted = tomllib.loads(clock_scenes.PROJECT)["schedules"]
    zone = ZoneInfo(clock_scenes.ZONE)
    terms = {"p/beat": Terms("p/beat", EveryTiming(clock_scenes.BEAT_SECONDS))}
    for name in WATCHED:
        terms[f"p/{name}"] = Terms(
            f"p/{name}", cron_timing(parse(wanted[name]["cron"], "native", name), zone)
        )
    world = World(terms)
    world.start_engine()
    world.settle()
    return world


def go_on(world: World) -> None:
    world.pass_time(LOOK_SECONDS)
    for key in world.alive():
        world.end_run(key)
    world.settle()


def walk(world: World, leg: dict[str, float]) -> dict[str, Any]:
    """Do what clock_walk.py does."""
    begun_at, seen = world.mono, set(world.rows)
    if "at" in leg:
        world.set_clock(leg["at"] - world.wall)
    while world.wall < leg.get("when", 0):
        go_on(world)
    if "step" in leg:
        world.set_clock(leg["step"])
    end = leg.get("until", world.wall)

    def new() -> list[Row]:
        return [row for key, row in world.rows.items() if key not in seen]

    while world.wall < end or not any(row.address == "p/beat" and (row.began or 0) >= end for row in new()):
        go_on(world)
    go_on(world)
    rows = {
        f"p/{name}": sorted([r.due, r.last, r.outcome, r.reason] for r in new() if r.address == f"p/{name}")
        for name in ("beat", *WATCHED)
    }
    return {"rows": rows, "seconds": world.mono - begun_at}


def test_each_time_is_accounted_for_once() -> None:
    world = begun()
    clock_scenes.check("p", [walk(world, leg.order()) for leg in LEGS])
