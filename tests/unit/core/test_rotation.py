"""Lines, rotation, caps: decided by the bytes and sizes alone."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shiftboss.core.rotation import (
    CUT_MARK,
    LINE_LIMIT,
    Fit,
    LineSplitter,
    LogLimits,
    LogPart,
    Piece,
    fit,
    lost_mark,
    over_total,
    shift,
    whole_lines,
)

LIMIT = 8
TEXT = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"defg", b"x" * LIMIT, b"y" * (3 * LIMIT + 1)])).map(
    b"".join
)


def lines_by_definition(data: bytes, limit: int) -> list[bytes]:
    """Cut each line, with its newline, into pieces of `limit` bytes; all but the last are marked."""
    lines = []
    for line in data.splitlines(keepends=True) if data else []:
        while len(line) > limit or (len(line) == limit and not line.endswith(b"\n")):
            lines.append(line[:limit] + CUT_MARK[:-1])
            line = line[limit:]
        if line:
            lines.append(line.removesuffix(b"\n"))
    return lines


class TestLines:
    @given(TEXT, st.lists(st.integers(0, 200)))
    @example(b"x" * LIMIT + b"\n", [LIMIT])
    def test_splitting_a_stream_at_any_points_gives_the_same_lines(
        self, data: bytes, cuts: list[int]
    ) -> None:
        splitter, lines = LineSplitter(LIMIT), []
        for start, end in itertools.pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
            lines += splitter.feed(data[start:end])
        assert lines + splitter.flush() == lines_by_definition(data, LIMIT)

    @given(TEXT)
    def test_nothing_is_lost_by_cutting(self, data: bytes) -> None:
        splitter = LineSplitter(LIMIT)
        lines = splitter.feed(data)
        text = b"".join(line + b"\n" for line in lines).replace(CUT_MARK, b"")
        assert text + b"".join(splitter.flush()) == data

    @given(TEXT, st.integers(0, 400))
    def test_whole_lines_are_a_beginning_that_ends_with_a_newline_unless_it_is_cut(
        self, data: bytes, length: int
    ) -> None:
        length = min(length, len(data))
        piece = whole_lines(data, length, LIMIT)
        assert piece.length <= length
        if piece.cut:
            assert piece.length == LIMIT
            assert b"\n" not in data[:LIMIT]
        elif piece.length:
            assert data[piece.length - 1 : piece.length] == b"\n"
        else:
            assert b"\n" not in data[:length]

    def test_a_line_of_exactly_the_limit_is_whole(self) -> None:
        line = b"x" * (LINE_LIMIT - 1) + b"\n"
        assert whole_lines(line, len(line)) == Piece(LINE_LIMIT)
        assert whole_lines(b"x" + line, len(line) + 1) == Piece(LINE_LIMIT, cut=True)

    def test_an_endless_line_does_not_grow_the_splitter(self) -> None:
        splitter = LineSplitter()
        pieces = [len(line) for _ in range(64) for line in splitter.feed(b"x" * 100_000)]
        assert set(pieces) == {LINE_LIMIT + len(CUT_MARK) - 1}
        assert sum(map(len, splitter.flush())) < LINE_LIMIT


class TestFit:
    @given(TEXT, st.integers(0, 300), st.booleans(), st.integers(1, 300))
    def test_every_file_takes_something_or_is_rotated(
        self, ahead: bytes, size: int, at_line_start: bool, full_at: int
    ) -> None:
        part = fit(size, at_line_start or not size, ahead, len(ahead), full_at)
        assert 0 <= part.length <= len(ahead)
        assert part.length or part.full or not ahead
        assert part.full or part.length == len(ahead)
        assert size + part.length <= max(full_at + LINE_LIMIT, size)

    @given(TEXT, TEXT, st.integers(0, 300), st.booleans(), st.integers(1, 300))
    def test_what_lies_behind_the_bytes_that_were_seen_does_not_matter(
        self, ahead: bytes, stale: bytes, size: int, at_line_start: bool, full_at: int
    ) -> None:
        """The buffer is used again: an old newline in it split a line between two files."""
        asked = (size, at_line_start)
        assert fit(*asked, ahead + stale, len(ahead), full_at) == fit(*asked, ahead, len(ahead), full_at)
        assert whole_lines(ahead + stale, len(ahead), 20) == whole_lines(ahead, len(ahead), 20)

    @given(TEXT, st.integers(20, 300))
    def test_files_are_split_between_lines_and_hold_the_same_bytes(self, data: bytes, full_at: int) -> None:
        files = [b""]
        rest = data
        while rest:
            size = len(files[-1])
            part = fit(size, not size or files[-1].endswith(b"\n"), rest, len(rest), full_at)
            files[-1] += rest[: part.length]
            rest = rest[part.length :]
            if part.full:
                files.append(b"")
        assert b"".join(files) == data
        for file in files[:-1]:
            assert file.endswith(b"\n")
            assert len(file) <= full_at or b"\n" not in file[: full_at - 1]  # one line longer than a file

    @pytest.mark.parametrize(
        ("size", "at_start", "ahead", "expected"),
        [
            (0, True, b"a\n", Fit(2, full=False)),
            (8, True, b"a\n", Fit(2, full=False)),
            (8, True, b"a\nb\n", Fit(2, full=True)),
            (9, True, b"ab\n", Fit(0, full=True)),
            (10, True, b"a\n", Fit(0, full=True)),
            (9, False, b"ab\nc\n", Fit(3, full=True)),
            (12, False, b"ab\nc\n", Fit(3, full=True)),
            (9, False, b"abcd", Fit(4, full=False)),
            (10, False, b"x" * (LINE_LIMIT + 9), Fit(LINE_LIMIT, full=True)),
            (10 + LINE_LIMIT, False, b"x", Fit(0, full=True)),
        ],
    )
    def test_a_line_ends_in_the_file_where_it_began(
        self, size: int, at_start: bool, ahead: bytes, expected: Fit
    ) -> None:
        assert fit(size, at_start, ahead, len(ahead), full_at=10) == expected


class Files:
    """Generations of one log on a disk that only knows its content."""

    def __init__(self, *contents: str) -> None:
        self.parts = dict(enumerate(contents))

    def rotate(self, backups: int, stop_after: int = 1 << 30) -> None:
        steps = shift({number for number in self.parts if number}, backups)
        done = 0
        for removal in steps.removals:
            if done < stop_after:
                self.parts.pop(removal, None)
            done += 1
        for source, target in steps.moves:
            if done < stop_after and source in self.parts:
                self.parts[target] = self.parts.pop(source)
            done += 1


class TestShift:
    def test_the_file_becomes_the_first_backup_and_the_oldest_goes(self) -> None:
        files = Files("new", "one", "two", "three")
        files.rotate(backups=3)
        assert files.parts == {1: "new", 2: "one", 3: "two"}

    @given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 9))
    def test_a_rotation_killed_at_any_step_and_done_again_loses_no_backup(
        self, backups: int, existing: int, step: int
    ) -> None:
        names = [f"{number}" for number in range(min(existing, backups) + 1)]
        once, twice = Files(*names), Files(*names)
        once.rotate(backups)
        twice.rotate(backups, stop_after=step)
        if 0 in twice.parts:
            twice.rotate(backups)
        assert twice.parts == once.parts

    def test_backups_beyond_the_limit_are_removed(self) -> None:
        assert shift({1, 2, 3, 4, 9}, 2).removals == (3, 4, 9)

    def test_without_backups_the_file_itself_goes(self) -> None:
        assert shift({2, 1}, 0) == ((1, 2, 0), ())
        files = Files("new", "one")
        files.rotate(backups=0)
        assert files.parts == {}

    @given(st.sets(st.integers(1, 12)), st.integers(1, 10))
    def test_no_backup_within_the_limit_is_overwritten_while_there_is_a_gap(
        self, existing: set[int], backups: int
    ) -> None:
        files = Files("new")
        files.parts |= {number: f"b{number}" for number in existing}
        kept = [f"b{number}" for number in sorted(existing) if number <= backups]
        files.rotate(backups)
        after = [files.parts[number] for number in sorted(files.parts)]
        assert after == (["new", *kept])[:backups]


class TestLimits:
    def test_zero_means_no_rotation_and_tiny_files_are_not_made(self) -> None:
        assert LogLimits(max_bytes=0).full_at > 1 << 60
        assert LogLimits(max_bytes=1).full_at == 4096
        assert LogLimits(max_bytes=10_000).full_at == 10_000

    def test_backups_go_before_files_in_use_and_the_oldest_first(self) -> None:
        parts = [
            LogPart("a.log", 0, 50, 9.0),
            LogPart("a.log", 1, 10, 5.0),
            LogPart("b.log", 1, 10, 4.0),
            LogPart("b.log", 2, 10, 1.0),
            LogPart("b.log", 0, 70, 9.0),
        ]
        assert over_total(parts, 150) == ()
        assert over_total(parts, 145) == (("b.log", 2),)
        assert over_total(parts, 125) == (("b.log", 2), ("b.log", 1), ("a.log", 1))
        assert over_total(parts, 100)[-1] == ("b.log", 0)
        assert over_total(parts, 0) == ()

    @given(
        st.lists(
            st.builds(LogPart, st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 99), st.floats(0, 9))
        )
    )
    def test_what_stays_is_below_the_total_and_no_more_goes_than_must(self, parts: list[LogPart]) -> None:
        parts = list({(part.name, part.generation): part for part in parts}.values())
        chosen = over_total(parts, 100)
        sizes = {(part.name, part.generation): part.size for part in parts}
        stays = sum(sizes.values()) - sum(sizes[one] for one in chosen)
        assert stays <= 100
        if chosen:
            assert stays + sizes[chosen[-1]] > 100

    def test_the_mark_of_a_loss_is_one_line_that_tells_how_much_and_why(self) -> None:
        assert (
            lost_mark(42, "no space left") == b"[shiftboss: 42 bytes of output dropped here: no space left]\n"
        )
