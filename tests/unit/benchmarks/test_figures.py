"""The arithmetic and the page of `make bench`: the parts that measure nothing."""

import random
from typing import Any

import pytest
from benchmarks import page
from benchmarks.figures import duration, number, quantile, ratio, spread, times
from benchmarks.goals import LAUNCHED, OURS, Goal, goals, judge, met, words
from benchmarks.logs_check import LINE, damage, numbered
from benchmarks.results import Results, Run
from hypothesis import given
from hypothesis import strategies as st

EFFORT = {
    "many": 1000,
    "some": 100,
    "crowd": 200,
    "neighbours": 500,
    "idle_seconds": 12,
    "up_seconds": 60,
    "due": [1, 500],
    "storm": 5000,
    "schedules": 10_000,
    "wait_seconds": 60,
}


def results(*runs: Run) -> Results:
    programs = {run.program: "1.0" for run in runs}
    return Results(
        versions=programs, machine="a machine", python="3", effort=EFFORT, rounds=3, runs=list(runs)
    )


def run(program: str, measure: str = "crash", number: int = 0, **figures: float | list[float]) -> Run:
    return Run(number, measure, program, figures)


CRASHES = (
    run("limit-c", restart_s=[0.001, 0.002, 0.003]),
    run(OURS, restart_s=[0.002, 0.003]),
    run(OURS, number=1, restart_s=[0.004]),
    run("supervisor", restart_s=[1.0, 1.1]),
    run("pm2", restart_s=[0.01]),
)


def line(count: int, name: str = "p0", pid: int = 42) -> bytes:
    head = f"{name} {pid} {count:012d} ".encode()
    return head + b"x" * (LINE - 1 - len(head)) + b"\n"


class TestStatistics:
    def test_the_median_of_an_even_count_is_between_the_middle_two(self) -> None:
        assert (found := spread([4, 1, 3, 2]))
        assert found == (4, 1, 2.5, 4, 4, 4)

    def test_of_nothing_there_is_no_spread(self) -> None:
        assert spread([]) is None

    @pytest.mark.parametrize(("share", "rank"), [(0.01, 1), (0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)])
    def test_a_quantile_is_the_value_of_its_rank(self, share: float, rank: int) -> None:
        assert quantile(range(1, 101), share) == rank

    @given(st.lists(st.floats(0, 1e6), min_size=1))
    def test_a_spread_is_ordered_and_made_of_what_was_measured(self, values: list[float]) -> None:
        found = spread(values)

        assert found
        assert found.least <= found.median <= found.most
        assert found.least <= found.p90 <= found.p99 <= found.most
        assert {found.least, found.p90, found.p99, found.most} <= set(values)

    def test_a_ratio_to_nothing_says_nothing(self) -> None:
        assert (ratio(1, 0), ratio(None, 1), ratio(1, None), ratio(3, 2)) == (None, None, None, 1.5)


class TestWriting:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "-"),
            (0, "0 ms"),
            (0.00123, "1.23 ms"),
            (0.0456, "45.6 ms"),
            (0.456, "456 ms"),
            (14.23, "14.2 s"),
        ],
    )
    def test_a_time_has_the_unit_that_fits(self, seconds: float | None, text: str) -> None:
        assert duration(seconds) == text

    @pytest.mark.parametrize(
        ("value", "text"), [(130_181, "130,181"), (0, "0"), (5.4, "5.40"), (24.6, "24.6")]
    )
    def test_a_number_has_the_digits_that_say_something(self, value: float, text: str) -> None:
        assert number(value) == text

    @pytest.mark.parametrize(
        ("value", "text"), [(None, "-"), (1.333, "1.33 x"), (12.3, "12.3 x"), (930, "930 x")]
    )
    def test_a_ratio(self, value: float | None, text: str) -> None:
        assert times(value) == text


class TestPooling:
    def test_repeats_of_all_rounds_are_pooled(self) -> None:
        assert results(*CRASHES).median("crash", OURS, "restart_s") == 0.003

    def test_the_best_is_the_least_unless_more_is_better(self) -> None:
        found = results(run("a", speed=1.0), run("b", speed=2.0), run("c", speed=3.0))

        assert found.best("crash", "speed", {"a"}) == ("b", 2.0)
        assert found.best("crash", "speed", {"c"}, most=True) == ("b", 2.0)

    def test_programs_come_in_one_order_and_once(self) -> None:
        assert results(*CRASHES).measured("crash") == ["limit-c", OURS, "supervisor", "pm2"]

    def test_what_is_stored_is_read_back(self) -> None:
        assert Results.read(results(*CRASHES).plain()) == results(*CRASHES)


class TestGoals:
    @pytest.mark.parametrize(
        ("goal", "is_met"),
        [
            (Goal("", "crash", "restart_s", limit=1.5), True),
            (Goal("", "crash", "restart_s", limit=1.4), False),
            (Goal("", "crash", "restart_s", most=0.003), True),
            (Goal("", "crash", "restart_s", most=0.0029), False),
            (Goal("", "crash", "restart_s", most=0.003, statistic="p99"), False),
            (Goal("", "crash", "restart_s", ahead=3), True),
            (Goal("", "crash", "restart_s", ahead=3.4), False),
            (Goal("", "crash", "restart_s", ahead=300, peers=("supervisor",)), True),
            (Goal("", "crash", "restart_s", limit=1.5, most=0.001), False),
            (Goal("", "mass", "all_back_s", most=1), None),
        ],
    )
    def test_a_goal_is_met_by_the_median_of_all_repeats(self, goal: Goal, is_met: bool | None) -> None:
        assert judge(goal, results(*CRASHES)).met is is_met

    def test_a_goal_against_peers_that_were_not_measured_is_open(self) -> None:
        goal = Goal("", "crash", "restart_s", ahead=3)

        assert judge(goal, results(*CRASHES[:3])).met is None

    def test_more_is_better_turns_the_goal_round(self) -> None:
        goal = Goal("", "flood 80", "mb_per_s", number, ahead=1, greater=True)

        assert met(goal, 100, None, 1.2) is True
        assert met(goal, 100, None, 0.8) is False
        assert words(goal) == "at least 1.00 x the best peer"


SCHEDULES = (
    run("limit-c", "due 5000", late_s=[0.5, 1.0], all_s=1.0, missing=0),
    run(OURS, "due 1", late_s=[0.004], all_s=0.004, missing=0),
    run(OURS, "due 500", late_s=[0.1, 0.2, 1.2], all_s=1.2, missing=0),
    run(OURS, "due 5000", late_s=[1.0, 1.9], all_s=1.9, missing=0),
    run("cron", "due 500", late_s=[1.0, 2.0, 2.4], all_s=2.4, missing=0),
    run(LAUNCHED, "due 500", late_s=[0.1, 0.1, 0.1], all_s=0.1, missing=0),
    run("yacron", "due 500", late_s=[1.5], missing=499),
    run(OURS, "wait 10000", ready_alone_s=[0.2], ready_s=0.9, load_s=0.7, pss_mb=86.0, idle_cpu_s=0.01),
    run(OURS, "maths", next_s=[0.1, 0.11], load_s=[0.8, 1.1, 1.2]),
)
STARTS = (
    run("plain exec", "launch", s=[0.001], added_s=[0.0]),
    run("launcher: limits, standard", "launch", s=[0.018, 0.019], added_s=[0.017, 0.018]),
    run("launcher, a whole run of cron: limits, standard", "launch", s=[0.03], added_s=[0.029]),
)


class TestGoalsOfSchedulesAndStarts:
    @pytest.mark.parametrize(
        ("what", "ours", "is_met"),
        [
            ("i. 1 schedule due: late", "4 ms", True),
            ("i. 500 due at once: late, median", "200 ms", True),
            ("i. 500 due at once: late, last", "1.20 s", False),
            ("i. 5000 due at once, all started", "1.90 s", True),
            ("i. 500 due at once: not started", "0", True),
            ("i. 10,000 schedules, none due: CPU a minute", "10 ms", True),
            ("i. 10,000 schedules, none due: memory", "86 MB", False),
            ("i. 10,000 schedules: ready later than with one", "700 ms", True),
            ("i. 10,000 schedules loaded, the maths alone", "1.10 s", False),
            ("i. 10,000 next times", "105 ms", True),
            ("cold start: the launcher adds, limits and `standard`", "17.5 ms", True),
            ("cold start: the launcher adds, a whole run of cron", "29 ms", False),
            ("cold start: the launcher adds, limits and `strict`", "-", None),
        ],
    )
    def test_each_is_judged(self, what: str, ours: str, is_met: bool | None) -> None:
        goal = next(goal for goal in goals(EFFORT) if goal.what == what)
        verdict = judge(goal, results(*SCHEDULES, *STARTS))

        assert (verdict.ours, verdict.met) == (ours, is_met)

    def test_cron_with_our_launcher_is_no_peer(self) -> None:
        goal = next(
            goal for goal in goals(EFFORT) if goal.what.startswith("i. 500 due at once: late, median")
        )

        assert judge(goal, results(*SCHEDULES)).best == "yacron"

    def test_no_goal_is_named_twice(self) -> None:
        names = [goal.what for goal in goals(EFFORT)]

        assert len(names) == len(set(names))


class TestLogs:
    def test_a_line_says_who_wrote_it(self) -> None:
        assert numbered(line(7).rstrip(b"\n")) == ("p0", 42, 7)

    def test_whole_logs_have_no_damage_in_whatever_order_the_files_are_found(self) -> None:
        parts = [b"".join(map(line, range(start, start + 10))) for start in (5, 15, 25)]
        random.Random(1).shuffle(parts)

        assert damage(parts) == (0, 0, 34)

    def test_a_line_that_is_missing_doubled_or_torn_is_found(self) -> None:
        assert damage([line(1) + line(3)]) == (1, 0, 3)
        assert damage([line(1) + line(1)]) == (1, 0, 1)
        assert damage([line(1) + line(2)[:40]]) == (0, 1, 1)
        assert damage([line(1) + line(2)[:40] + line(3)]) == (0, 1, 1)

    def test_a_line_that_is_cut_by_a_rotation_is_whole(self) -> None:
        both = line(1) + line(2)

        assert damage([both[:100], both[100:]]) == (0, 0, 2)

    def test_an_empty_log_has_no_last_line(self) -> None:
        assert damage([]) == (0, 0, -1)


class TestPage:
    def test_the_page_shows_each_program_with_its_ratio_and_each_goal(self) -> None:
        text = page.write(results(*CRASHES))

        assert "| supervisor | 2 | 1 s | 1.05 s | 1.10 s | 1.10 s | 525 x | - | - |" in text
        assert (
            "| a. crash to running, median | 3 ms | 1.50 x | 0.30 x pm2 | at most 2.50 x limit-c | yes |"
            in text
        )

    def test_every_row_of_a_table_has_the_cells_of_its_header(self) -> None:
        every = (*everything("limit-c"), *everything(OURS), *everything("s6"))
        text = page.write(results(*CRASHES, *every, *SCHEDULES, *STARTS))
        tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| ")]

        assert len(tables) == 13
        for rows in tables:
            assert len({row.count("|") for row in rows}) == 1

    def test_the_page_shows_how_late_schedules_start_and_who_never_did(self) -> None:
        text = page.write(results(*SCHEDULES))

        assert "|  | 1 | 500: median | last | 5000: median | last | not started |" in text
        assert f"| {OURS} | 4 ms | 200 ms | 1.20 s | 1.45 s | 1.90 s | 0 |" in text
        assert "| yacron | - | 1.50 s | 1.50 s | - | - | 499 |" in text
        assert f"| {OURS} | 86 MB | 10 ms | - | 200 ms | 900 ms |" in text
        assert "| next times | 100 ms | 105 ms |" in text

    def test_the_page_shows_what_a_start_costs(self) -> None:
        assert "| launcher: limits, standard | 18 ms | 18.5 ms | 17.5 ms |" in page.write(results(*STARTS))

    def test_what_failed_is_named_with_its_reason(self) -> None:
        text = page.write(results(*CRASHES, Run(0, "mass", "circus", {}, "not all of 200 were back in 60 s")))

        assert "- circus, mass: not all of 200 were back in 60 s" in text

    def test_what_was_not_measured_has_no_section(self) -> None:
        assert "## e." not in page.write(results(*CRASHES))


def everything(program: str) -> list[Run]:
    scale: dict[str, Any] = {
        "start_s": 1.0,
        "stop_s": 0.5,
        "pss_mb": 20.0,
        "processes": 2,
        "idle_switches": 0.0,
        "idle_cpu_s": 0.0,
        "status_api_s": [0.001],
    }
    capture = {"cpu_s_per_gib": 1.0, "mb_per_s": 500.0, "torn_lines": 0, "lost_bytes": 0}
    killed = dict.fromkeys(
        ("alive", "broken", "logging", "twice", "missing", "lines_lost", "lines_written"), 0
    )
    return [
        run(program, "mass", all_back_s=0.1),
        *(run(program, f"scale {count}", **scale) for count in (1, 100, 1000)),
        *(run(program, f"flood {block}", **capture) for block in (80, 4080)),
        run(program, "rate", cpu_percent=5.0, lines_per_s=50_000),
        run(program, "more", runs_s=[0.01], restarted=0),
        run(program, "kill daemon", **killed),
    ]
