"""A schedule as plain values in the manifest's entry, and back: what the backend writes and the engine reads."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from shiftboss.core.cron import parse
from shiftboss.core.errors import UserError
from shiftboss.core.run_policy import Policy
from shiftboss.core.schedule_policy import MOST_LANES, Terms
from shiftboss.core.spec import DstPolicy, Schedule, Site
from shiftboss.core.timing import NO_ZONE, AfterTiming, EveryTiming, Timing, cron_timing

SCHEDULE, CONDITION = "schedule", "helper"
"""Kinds of entries: a schedule, and the `only_if` command of one."""
LANES = MOST_LANES
_CONDITION = "#only_if"
_MOST_ALIKE = 1024


class Times(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a schedule is due. Exactly one of `cron`, `every` (seconds) and `after` (an address) is given."""

    cron: str = ""
    every: int = 0
    after: str = ""
    timezone: str = ""
    dst: DstPolicy = "debian"


class Options(msgspec.Struct, frozen=True):
    """What the entry of a schedule says beyond its command. `most_runs`: at once, of the server and of one project."""

    times: Times
    policy: Policy = Policy()
    most_runs: tuple[int, int] = (0, 0)


def condition_of(address: str) -> str:
    """Return the address of the entry that holds the `only_if` command of a schedule."""
    return f"{address}{_CONDITION}"


def schedule_of(address: str) -> str:
    """Return the schedule that an entry belongs to: itself, or the one whose condition it is."""
    return address.removesuffix(_CONDITION)


def options_of(schedule: Schedule, site: Site) -> dict[str, Any]:
    """Return the options of a schedule's entry."""
    limits = (site.max_runs, site.max_runs_per_project)
    plain: dict[str, Any] = msgspec.to_builtins(Options(_times(schedule), schedule.policy, limits))
    return plain


def check_times(schedule: Schedule) -> None:
    """Raise UserError if nobody could say when a schedule is due."""
    _timing(schedule.address, _times(schedule), ZoneInfo("UTC"))


def _times(schedule: Schedule) -> Times:
    return Times(schedule.cron, schedule.every, schedule.after, schedule.timezone, schedule.dst)


def read_options(address: str, options: Mapping[str, Any]) -> Options:
    """Return the options of an entry; raise UserError if they are not what `options_of` writes.

    Equal ones are one object: schedules are much alike, and ten thousand of them shall be small.
    """
    try:
        return _one(msgspec.convert(options, Options))
    except msgspec.ValidationError as error:
        raise UserError(f"the manifest's entry of {address} is wrong: {error}") from None


@lru_cache(_MOST_ALIKE)
def _one(options: Options) -> Options:
    return options


def terms_of_options(address: str, options: Options, zone: ZoneInfo) -> Terms:
    """Return what the engine goes by; `zone` is the server's. Raises UserError for times that cannot be."""
    return Terms(address, _timing(address, options.times, zone), options.policy)


def _timing(address: str, times: Times, zone: ZoneInfo) -> Timing:
    if times.after:
        return AfterTiming(times.after)
    if times.every:
        return EveryTiming(times.every)
    try:
        own = ZoneInfo(times.timezone) if times.timezone else zone
    except NO_ZONE:
        raise UserError(
            f"{address}: there is no time zone {times.timezone}",
            hint="Use an IANA name, such as Europe/Riga.",
        ) from None
    key = address if "H" in times.cron else ""  # nothing else depends on it
    return _cron_timing(times.cron, key, own, times.dst)


@lru_cache(_MOST_ALIKE)
def _cron_timing(cron: str, key: str, zone: ZoneInfo, dst: DstPolicy) -> Timing:
    return cron_timing(parse(cron, "native", key), zone, dst)
