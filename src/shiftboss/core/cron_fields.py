"""One field of a cron expression: from its text to a bit set, as one dialect reads it."""

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

from shiftboss.core.cron_dialects import DAY, HOUR, MINUTE, SECOND, WEEKDAY, Dialect, Field
from shiftboss.core.errors import UserError
from shiftboss.core.stable_hash import stable_number


class Finding(Struct, frozen=True):
    """Something that a reader should know of an expression; `fatal` means: do not write it to the target."""

    code: str
    message: str
    fatal: bool


class LastDay(Struct, frozen=True):
    """`L`, `L-n`: `back` days before the last of the month; with W the working day nearest to that."""

    back: int = 0
    working: bool = False


class NearestWorkingDay(Struct, frozen=True):
    """`nW`: the day from Monday to Friday nearest to `day` in the same month; none where there is no such day."""

    day: int


class NthWeekday(Struct, frozen=True):
    """`d#n`: the nth (1 to 5) of a weekday in its month, for `dL` the last one (`nth` 0). Sunday is 0."""

    weekday: int
    nth: int = 0


DayRule = LastDay | NearestWorkingDay | NthWeekday


class Values(Struct, frozen=True):
    """What a field matches: a bit set (bit n = value n), rules that depend on the month, and what was odd."""

    bits: int = 0
    rules: tuple[DayRule, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __or__(self, other: "Values") -> "Values":
        return Values(self.bits | other.bits, self.rules + other.rules, self.findings + other.findings)


_WORD = "[0-9A-Za-z]"
_END = "(?=,|$)"
_ITEM = re.compile(rf"(?:\*|(?P<low>{_WORD}+)(?:-(?P<high>{_WORD}*))?)(?:/(?P<step>{_WORD}*))?")
_HASH = re.compile(r"H(?:\((?P<low>[0-9]+)-(?P<high>[0-9]+)\))?(?:/(?P<step>[0-9]+))?" + _END)
_LAST_DAY = re.compile(r"L(?:-(?P<back>[1-9]|[12][0-9]|30))?(?P<working>W?)" + _END)
_NEAREST = re.compile(r"(?P<day>[0-9]+)W" + _END)
_NTH = re.compile(rf"(?P<weekday>[0-7]|{'|'.join(WEEKDAY.names)})#(?P<nth>[1-5])" + _END, re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"(?P<weekday>[0-7])L" + _END)

_INT_MAX, _LONG_MAX, _UINT_VALUES = 2**31 - 1, 2**63 - 1, 2**32
_LAST_HASHED_DAY = 28  # a day that every month has, as in Jenkins, whose H this is


def read_field(text: str, field: Field, dialect: Dialect, key: str) -> Values:
    """Return what `text` matches in `field`; `key` decides the value of `H`. Raises UserError."""
    return _Reader(text, field, dialect, key).read()


class _Reader(Struct, frozen=True):
    """The text of a field, and everything that its meaning depends on."""

    text: str
    field: Field
    dialect: Dialect
    key: str

    def read(self) -> Values:
        values, position = self._item(0)
        while position < len(self.text):
            if self.text[position] != ",":
                return values | self._tail(position)
            item, position = self._item(position + 1)
            values |= item
        return values

    def _item(self, position: int) -> tuple[Values, int]:
        """Return what the item at `position` matches, and where it ends."""
        for pattern, meaning in self._extensions():
            if found := pattern.match(self.text, position):
                return meaning(found), found.end()
        if found := _ITEM.match(self.text, position):
            return self._range(found), found.end()
        raise self._unreadable(position)

    def _tail(self, position: int) -> Values:
        """Judge what follows a complete item and is not a comma."""
        if not self.dialect.skips_tail:
            raise self._unreadable(self.text.rfind(",", 0, position) + 1)
        kept, lost = self.text[:position], self.text[position:]
        what = f"{self.dialect.program} reads {kept} and skips the rest ({lost}) without a word"
        return Values(findings=(self._finding("ignored-tail", what),))

    # Items that every cron knows: *, a, a-b, */n, a-b/n

    def _range(self, found: re.Match[str]) -> Values:
        low, high = self._ends(found)
        step = self._step(found)
        values = range(low, high + 1, step)
        for value in (low, high) if self.dialect.checks_ends else (*values[:1], *values[-1:]):
            self._check(value)
        if not values and self.dialect.refuses_reversed:
            raise self._refusal(f"{found[0]} runs backwards", f"Write {self._turned(found, low, high)}.")
        return Values(_bits(values), findings=tuple(self._oddities(found, values)))

    def _ends(self, found: re.Match[str]) -> tuple[int, int]:
        if found["low"] is None:
            return self.field.low, self.field.high
        low = self._number(found["low"])
        if found["high"] is None:
            return low, low
        high = self._number(found["high"])
        closes = self.field in self.dialect.zero_ends_range
        if closes and low > high == 0 and (found["step"] is None or self.dialect.zero_ends_steps):
            return low, WEEKDAY.high
        return low, high

    def _step(self, found: re.Match[str]) -> int:
        if found["step"] is None:
            return 1
        if found["low"] and found["high"] is None:
            last = self.field.names[-1] if self.field.names else self.field.high
            raise self._refusal(
                f"{found[0]} has a step but no range", f"Write {found['low']}-{last}/{found['step']}."
            )
        step = self._number(found["step"], names=False)
        if step <= 0:
            raise self._refusal(f"{found[0]} has a step of {step}", "A step is 1 or more.")
        return step

    def _number(self, word: str, *, names: bool = True) -> int:
        if names and word.lower() in self.field.names:
            return self.field.names.index(word.lower()) + self.field.low
        if not word:
            raise self._refusal(f"a number is missing in {self.text!r}")
        if not word.isdigit():
            raise self._refusal(f"{word!r} is not a number", self._advice(word))
        return _c_int(int(word)) if self.dialect.wraps_numbers else int(word)

    def _check(self, value: int) -> int:
        if not self.field.low <= value <= self.field.high:
            raise self._refusal(f"{value} is out of range {self.field.low}-{self.field.high}")
        return value

    def _oddities(self, found: re.Match[str], values: range) -> Iterator[Finding]:
        """Say where the values are not what the item seems to say."""
        program = self.dialect.program
        if not values:
            what = f"{program} takes {found[0]} without a word, but it runs backwards and matches nothing"
            instead = self._turned(found, values.start, values.stop - 1)
            yield self._finding("reversed-range", f"{what}; write {instead}")
        elif found["low"] is None and values.step > 1:
            yield from self._uneven(found[0], values)
        if self.field is not WEEKDAY and found["high"] == "0" and values.start > 0 and values:
            yield self._finding("zero-end", f"{program} reads {found[0]} as {values.start}-{WEEKDAY.high}")
        if any(word and word.isdigit() and int(word) > _INT_MAX for word in found.groups()):
            yield self._finding("overflow", f"{program} cannot hold a number in {found[0]} and takes another")

    def _uneven(self, item: str, values: range) -> Iterator[Finding]:
        """Say where a step from the first value does not come round to it again."""
        if len(values) == 1:
            what = f"{item} matches {values[0]} only, because the step goes beyond the end of the field"
            yield self._finding("big-step", what, fatal=False)
        elif self.field in (SECOND, MINUTE, HOUR) and len(values) * values.step != self.field.high + 1:
            left = self.field.high + 1 - values[-1]
            what = f"{item} starts again from 0, so the last interval is {left} and not {values.step}"
            yield self._finding("uneven-step", what, fatal=False)

    def _turned(self, found: re.Match[str], low: int, high: int) -> str:
        """Return what a range that runs backwards was meant to be: `sat,sun` for sat-sun, 22-23,0-2 for 22-2."""
        last = WEEKDAY.high - 1 if self.field is WEEKDAY else self.field.high
        named = found["low"].isalpha() and found["high"].isalpha()
        parts = []
        for start, end in ((low, last), (self.field.low, high)):
            shown = [self.field.names[n - self.field.low] if named else str(n) for n in (start, end)]
            parts += ["-".join(dict.fromkeys(shown))] if start <= end else []
        return ",".join(parts)

    # Items that only shiftboss knows

    def _extensions(self) -> Iterator[tuple[re.Pattern[str], Callable[[re.Match[str]], Values]]]:
        if not self.dialect.extensions:
            return
        yield _HASH, self._hash
        if self.field is DAY:
            yield _LAST_DAY, self._last_day
            yield _NEAREST, self._nearest
        if self.field is WEEKDAY:
            yield _NTH, self._nth
            yield _LAST_WEEKDAY, self._nth

    def _hash(self, found: re.Match[str]) -> Values:
        """Return `H` (one value), `H/n` (every n, from a hashed start), both also within `H(a-b)`."""
        low, high = self._hash_limits(found)
        step = int(found["step"] or 0)
        if found["step"] and not 1 <= step <= high - low + 1:
            raise self._refusal(f"{found[0]} has a step that is not 1-{high - low + 1}")
        number = stable_number(f"{self.key}\0{self.field.name}", 8)
        start = low + number % (step or high - low + 1)
        return Values(_bits(range(start, high + 1, step) if step else range(start, start + 1)))

    def _hash_limits(self, found: re.Match[str]) -> tuple[int, int]:
        if found["low"] is None:
            last = {DAY: _LAST_HASHED_DAY, WEEKDAY: WEEKDAY.high - 1}.get(self.field, self.field.high)
            return self.field.low, last
        low, high = self._check(int(found["low"])), self._check(int(found["high"]))
        if low > high:
            raise self._refusal(f"{found[0]} runs backwards")
        return low, high

    def _last_day(self, found: re.Match[str]) -> Values:
        return Values(rules=(LastDay(int(found["back"] or 0), bool(found["working"])),))

    def _nearest(self, found: re.Match[str]) -> Values:
        return Values(rules=(NearestWorkingDay(self._check(int(found["day"]))),))

    def _nth(self, found: re.Match[str]) -> Values:
        nth = int(found.groupdict().get("nth", 0))
        return Values(rules=(NthWeekday(self._number(found["weekday"]) % WEEKDAY.high, nth),))

    # What is wrong

    def _unreadable(self, position: int) -> UserError:
        item = self.text[position:].partition(",")[0]
        if not item:
            return self._refusal("an item of the list is empty", "Remove the comma that is too much.")
        return self._refusal(f"cannot read {item!r}", self._advice(item))

    def _advice(self, item: str) -> str:
        if item.isalpha() and item[3:] != "L" and item[:3].lower() in self.field.names:
            return f"Names have three letters: {item[:3].lower()}."
        if self.dialect.extensions and re.search(r"[LWH#]", item):
            return "The day of month knows L, L-3, LW and 15W, the day of week 5L and 1#2, every field H and H/15."
        return next((advice for pattern, advice in _ADVICE if re.search(pattern, item)), "")

    def _refusal(self, what: str, hint: str = "") -> UserError:
        return UserError(f"{self.field.name}: {what}", hint=hint)

    def _finding(self, code: str, what: str, *, fatal: bool = True) -> Finding:
        return Finding(code, f"{self.field.name}: {what}", fatal)


_ADVICE = (
    (r"[^\x00-\x7f]", "Only the digits 0-9 and ASCII characters count."),
    (r"\?", "Write * instead of ?."),
    (r"~", "Only cronie picks random values (a~b), and nobody else can know them; shiftboss has H."),
    (r"[LWH#]", "L, W, # and H are extensions that only shiftboss itself knows."),
    (r"^-|--", "Numbers have no sign; a range is written 1-5."),
)


def _bits(values: range) -> int:
    return sum(1 << value for value in values)


def _c_int(number: int) -> int:
    """Return what atoi(3) makes of a number: it stops at the largest long, and int keeps its low 32 bits."""
    low_bits = min(number, _LONG_MAX) % _UINT_VALUES
    return low_bits if low_bits <= _INT_MAX else low_bits - _UINT_VALUES
