"""A slow second opinion on cron: every minute of a stretch of time is walked, as cron's own loop does.

Written from crontab(5), cron(8) and the observed rules of daylight saving; shares no code with the product.
"""

import calendar
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
EVERY_MONTH = frozenset(range(1, 13))
DayTest = Callable[[datetime], bool]


@dataclass(frozen=True)
class Case:
    """An expression, and what it means, put together independently of the parser."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    dom: DayTest
    dow: DayTest

    @cached_property
    def wildcard(self) -> bool:
        minute, hour = self.text.split()[:2]
        return minute.startswith("*") or hour.startswith("*")

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        dom, dow = self.text.split()[2], self.text.split()[4]
        if dom.startswith("*") or dow.startswith("*"):
            return self.dom(wall) and self.dow(wall)
        return self.dom(wall) or self.dow(wall)

    def __repr__(self) -> str:
        return f"Case({self.text!r})"


Tick = tuple[datetime, datetime, datetime]


def clock(
    zone: ZoneInfo, start: datetime, end: datetime, settle: timedelta = timedelta(hours=26)
) -> Iterator[Tick]:
    """Yield for each minute in (start, end]: the instant, the wall-clock time, and the latest one before it.

    `settle` is how long before the start the clock is watched: the start may lie in a repeated hour.
    """
    instant = start - settle
    highest = instant.astimezone(zone).replace(tzinfo=None)
    while (instant := instant + MINUTE) <= end:
        wall = instant.astimezone(zone).replace(tzinfo=None)
        if instant > start:
            yield instant, wall, highest
        highest = max(highest, wall)


def walk(
    case: Case, zone: ZoneInfo, start: datetime, end: datetime, dst: str = "debian"
) -> Iterator[datetime]:
    """Yield the due minutes in (start, end], minute by minute in UTC, with the clock of the zone on the wall."""
    return (instant for instant, wall, highest in clock(zone, start, end) if is_due(case, wall, highest, dst))


def is_due(case: Case, wall: datetime, highest: datetime, dst: str) -> bool:
    """Return whether cron starts the job in this minute; `highest` is the latest wall-clock time before it."""
    if case.wildcard:
        return case.matches(wall)
    if wall <= highest:
        return False
    if dst == "skip" or wall == highest + MINUTE:
        return case.matches(wall)
    return any(case.matches(highest + n * MINUTE) for n in range(1, (wall - highest) // MINUTE + 1))


# Expressions with their meaning


def daily(minute: str, minutes: Iterable[int], hour: str, hours: Iterable[int]) -> Case:
    """Return a case for every day from the texts and the values of its minute and hour."""
    return Case(
        f"{minute} {hour} * * *",
        frozenset(minutes),
        frozenset(hours),
        EVERY_MONTH,
        lambda _: True,
        lambda _: True,
    )


Piece = tuple[str, frozenset[int]]


def _pieces(low: int, high: int) -> st.SearchStrategy[Piece]:
    """Return items of a field, with the values they stand for."""
    number = st.integers(low, high)
    step = st.integers(1, high + 5)
    span = st.tuples(number, number).map(sorted)
    return st.one_of(
        number.map(lambda n: (str(n), frozenset({n}))),
        span.map(lambda s: (f"{s[0]}-{s[1]}", frozenset(range(s[0], s[1] + 1)))),
        st.tuples(span, step).map(
            lambda t: (f"{t[0][0]}-{t[0][1]}/{t[1]}", frozenset(range(t[0][0], t[0][1] + 1, t[1])))
        ),
        step.map(lambda n: (f"*/{n}", frozenset(range(low, high + 1, n)))),
        st.just(("*", frozenset(range(low, high + 1)))),
    )


def fields(low: int, high: int) -> st.SearchStrategy[Piece]:
    """Return texts of a field and their values; `*` is as frequent as in life."""
    lists = st.lists(_pieces(low, high), min_size=1, max_size=3).map(
        lambda pieces: (",".join(p[0] for p in pieces), frozenset().union(*(p[1] for p in pieces)))
    )
    return st.one_of(st.just(("*", frozenset(range(low, high + 1)))), lists)


def _last(day: datetime) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_working(day: datetime, target: int) -> bool:
    """Return whether `day` is the working day nearest to `target` in its month."""
    if not 1 <= target <= _last(day):
        return False
    working = [
        d for d in range(1, _last(day) + 1) if calendar.weekday(day.year, day.month, d) < calendar.SATURDAY
    ]
    return day.day == min(working, key=lambda d: abs(d - target))


def _dom_rules() -> st.SearchStrategy[tuple[str, DayTest]]:
    back, day = st.integers(1, 30), st.integers(1, 31)
    return st.one_of(
        st.just(("L", lambda d: d.day == _last(d))),
        st.just(("LW", lambda d: _nearest_working(d, _last(d)))),
        back.map(lambda n: (f"L-{n}", lambda d: d.day == _last(d) - n)),
        back.map(lambda n: (f"L-{n}W", lambda d: _nearest_working(d, _last(d) - n))),
        day.map(lambda n: (f"{n}W", lambda d: _nearest_working(d, n))),
    )


def _dow_rules() -> st.SearchStrategy[tuple[str, DayTest]]:
    weekday, nth = st.integers(0, 7), st.integers(1, 5)
    return st.one_of(
        weekday.map(lambda w: (f"{w}L", lambda d: d.isoweekday() % 7 == w % 7 and d.day + 7 > _last(d))),
        st.tuples(weekday, nth).map(
            lambda t: (
                f"{t[0]}#{t[1]}",
                lambda d: d.isoweekday() % 7 == t[0] % 7 and (d.day + 6) // 7 == t[1],
            )
        ),
    )


def _doms(extended: bool) -> st.SearchStrategy[tuple[str, DayTest]]:
    plain = fields(1, 31).map(lambda piece: (piece[0], lambda d: d.day in piece[1]))
    return st.one_of(plain, _dom_rules()) if extended else plain


def _dows(extended: bool) -> st.SearchStrategy[tuple[str, DayTest]]:
    plain = fields(0, 7).map(lambda piece: (piece[0], lambda d: not piece[1].isdisjoint(_both_sundays(d))))
    return st.one_of(plain, _dow_rules()) if extended else plain


def _both_sundays(day: datetime) -> set[int]:
    return {day.isoweekday(), day.isoweekday() % 7}


def cases(*, extended: bool = True) -> st.SearchStrategy[Case]:
    """Return expressions of five fields with their meaning; `extended` with L, W and #."""

    def build(parts: tuple[Piece, Piece, tuple[str, DayTest], Piece, tuple[str, DayTest]]) -> Case:
        minute, hour, dom, month, dow = parts
        text = " ".join(part[0] for part in parts)
        return Case(text, minute[1], hour[1], month[1], dom[1], dow[1])

    return st.tuples(fields(0, 59), fields(0, 23), _doms(extended), fields(1, 12), _dows(extended)).map(build)


def instants(first_year: int = 2020, last_year: int = 2040) -> st.SearchStrategy[datetime]:
    """Return instants in UTC on whole seconds, most of them on whole minutes."""
    start = datetime(first_year, 1, 1, tzinfo=UTC)
    minutes = (datetime(last_year, 12, 31, tzinfo=UTC) - start) // MINUTE
    whole = st.integers(0, minutes).map(lambda n: start + n * MINUTE)
    return st.one_of(
        whole, st.tuples(whole, st.integers(0, 59)).map(lambda t: t[0] + timedelta(seconds=t[1]))
    )
