"""From a schedule as it is wanted to what the engine needs to know of it."""

from zoneinfo import ZoneInfo

from shiftboss.core.cron import parse
from shiftboss.core.schedule_policy import Terms
from shiftboss.core.spec import Schedule
from shiftboss.core.timing import AfterTiming, EveryTiming, Timing, cron_timing


def timing_of(schedule: Schedule, zone: ZoneInfo, dialect: str = "native") -> Timing:
    """Return when a schedule is due, by the rules of the cron called `dialect`; raise UserError for wrong times."""
    if schedule.after:
        return AfterTiming(schedule.after)
    if schedule.every:
        return EveryTiming(schedule.every)
    return cron_timing(parse(schedule.cron, dialect, schedule.address), zone, schedule.dst)


def terms_of(schedule: Schedule, zone: ZoneInfo) -> Terms:
    """Return the terms of a schedule on the native backend; `zone` is its own, or that of the server."""
    return Terms(schedule.address, timing_of(schedule, zone), schedule.policy)
