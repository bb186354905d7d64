"""From the table of a schedule to its times and its policy, every error with the path of its key."""

from msgspec import Struct

from shiftboss.core.backoff import Backoff
from shiftboss.core.errors import UserError
from shiftboss.core.every import parse_duration
from shiftboss.core.names import address
from shiftboss.core.preset import Preset
from shiftboss.core.run_policy import Policy
from shiftboss.core.tables import ScheduleTable

_TIMES = ("cron", "every", "after")
_ASKED = (
    *("timezone", "dst", "overlap", "timeout", "stop_wait", "retries", "retry_delay", "catch_up"),
    *("starting_deadline", "jitter", "spread", "only_if", "expect_within"),
)
_RETRY_CAP_SECONDS = 3600.0


class Times(Struct, frozen=True):
    """When a schedule runs, as its table says: exactly one of the three (see `spec.Schedule`)."""

    cron: str = ""
    every: int = 0
    after: str = ""


def seconds_of(value: int | str | None, where: str) -> int | None:
    """Return the seconds of `90` or "90s", None for None; raise UserError otherwise."""
    if value is None:
        return None
    try:
        return parse_duration(f"{value}s" if isinstance(value, int) else value)
    except UserError as error:
        raise UserError(error.message, where=where, hint=error.hint) from None


def times_of(table: ScheduleTable, preset: Preset, project: str, where: str) -> Times:
    """Return when a schedule runs; raise UserError if its table says nothing or two things.

    The cron expression itself is not checked: what is right depends on who runs it.
    """
    given = [key for key in _TIMES if getattr(table, key) is not None]
    if len(given) > 1:
        raise UserError(
            f"is given beside {given[0]}, but a schedule has one kind of times",
            where=f"{where}.{given[1]}",
            hint=f"Keep {given[0]} or {given[1]}, and remove the other.",
        )
    if table.every is not None:
        return Times(every=seconds_of(table.every, f"{where}.every") or 0)
    if table.after is not None:
        return Times(after=address(project, table.after))
    cron = table.cron or preset.cron
    if not cron:
        raise UserError("says no times", where=f"{where}.cron", hint='For example cron = "0 2 * * *".')
    return Times(cron=cron)


def policy_of(table: ScheduleTable, times: Times, preset: Preset, where: str) -> Policy:
    """Return what a schedule wants besides its times; raise UserError for what cannot be."""
    _check_spread(table, times, where)
    _check_zone(table, times, where)

    def seconds(key: str) -> int | None:
        return seconds_of(getattr(table, key), f"{where}.{key}")

    delay = seconds("retry_delay")
    backoff = (
        Policy().backoff if delay is None else Backoff(float(delay), max(float(delay), _RETRY_CAP_SECONDS))
    )
    return Policy(
        overlap=table.overlap or preset.overlap,
        timeout_seconds=seconds("timeout") or 0,
        stop_seconds=table.stop_wait or Policy().stop_seconds,
        retries=table.retries or 0,
        backoff=backoff,
        catch_up=table.catch_up,
        deadline_seconds=seconds("starting_deadline"),
        jitter_seconds=seconds("jitter") or 0,
        spread=bool(table.spread),
        only_if=table.only_if is not None,
        expect_within=seconds("expect_within") or 0,
        asks_inside=preset.tasks_inside,
        leaves_background=preset.leaves_background,
    )


def asked_for(table: ScheduleTable) -> tuple[str, ...]:
    """Return the keys about running that the table sets: a backend respects or names each of them."""
    return tuple(key for key in _ASKED if getattr(table, key) is not None)


def _check_spread(table: ScheduleTable, times: Times, where: str) -> None:
    """Refuse to spread what has seconds of its own."""
    if table.spread and (times.after or (times.every % 60 != 0) or _has_seconds(times.cron)):
        raise UserError(
            "only times on full minutes can be spread inside the minute",
            where=f"{where}.spread",
            hint="Remove spread, or use jitter.",
        )


def _has_seconds(cron: str) -> bool:
    from shiftboss.core.cron import parse  # spreading is rare

    try:
        return bool(cron) and parse(cron).seconds != 1
    except UserError:
        return False  # whoever runs it refuses it, with better words


def _check_zone(table: ScheduleTable, times: Times, where: str) -> None:
    """Refuse what only means something for the clock on a wall."""
    for key in ("timezone", "dst"):
        if getattr(table, key) is not None and not times.cron:
            other = "every" if times.every else "after"
            raise UserError(
                f"has no meaning with {other}",
                where=f"{where}.{key}",
                hint=f"Remove it, or use cron instead of {other}.",
            )
