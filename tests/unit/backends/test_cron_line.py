"""Crontab lines: what a schedule means arrives at the shell exactly, by every cron's rules, or is refused."""

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.cron_model import after_percent_rule, load_env
from tests.small_server import ACCOUNT, project, schedule, site

from shiftboss.backends.cron_line import check, crontab_path, meant_by, render_crontab, render_line
from shiftboss.backends.crontab import MAX_COMMAND_BYTES, read_crontab, read_variable, split_percent
from shiftboss.core.errors import UserError
from shiftboss.core.managed import read_seal
from shiftboss.core.spec import Account

LINE = (
    "* * * * * myapp_user cd /infra/projects/myapp/current && /usr/bin/php artisan schedule:run --no-ansi"
    " >> /infra/logs/projects/myapp/scheduler.log 2>&1"
)
USERS = {ACCOUNT.name}

TRICKY = [
    "%", "%%", "\\", "\\\\", "\\%", "\\\\%", "%\\", "'", '"', "'\"'\"'", ";", "&&", ">>", "2>&1", "|", "#", " #", " ", "",
    "$HOME", "`id`", "$(id)", "*", "?", "[a]", "~", "!", "{a,b}", "\t", "A=1", "-n", "é", "日本語", "🙂", "App\\\\Jobs", "\u2028",
]  # fmt: skip
TEXT = st.lists(
    st.sampled_from(TRICKY) | st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=8
).map("".join)
ARGV = st.lists(TEXT, max_size=5).map(lambda rest: ("/bin/echo", *rest))


def command_field(line: str) -> str:
    return line.split(" ", 6)[6]


def words_between(command: str, start: str, end: str) -> list[str]:
    words = shlex.split(command)
    assert words[: len(start.split())] == start.split()
    assert words[-len(end.split()) :] == end.split()
    return words[len(start.split()) : -len(end.split())]


def test_line_of_the_laravel_scheduler_is_the_classic_one():
    assert render_line(schedule()) == LINE


@pytest.mark.parametrize("halves_backslashes", [True, False], ids=["debian", "cronie"])
@given(argv=ARGV)
@example(argv=("/bin/echo", "\\\\%"))
@example(argv=("/bin/echo", "a\\", "%b"))
def test_the_shell_gets_exactly_these_words_from_any_cron(argv: tuple[str, ...], halves_backslashes: bool):
    line = render_line(schedule(argv=argv))
    command, stdin = after_percent_rule(command_field(line), halves_backslashes=halves_backslashes)
    assert stdin == ""
    around = ("cd /infra/projects/myapp/current &&", ">> /infra/logs/projects/myapp/scheduler.log 2>&1")
    assert tuple(words_between(command, *around)) == argv


@given(root=TEXT, logs=TEXT)
def test_paths_with_percent_signs_quotes_and_backslashes_stay_what_they_are(root: str, logs: str):
    line = render_line(schedule(of=project(root=f"/srv/{root}", logs=f"/var/{logs}")))
    command, stdin = after_percent_rule(command_field(line), halves_backslashes=True)
    words = shlex.split(command)
    assert (stdin, words[1], words[-2]) == ("", f"/srv/{root}/current", f"/var/{logs}/scheduler.log")


def test_words_are_quoted_only_where_the_shell_needs_it():
    line = render_line(
        schedule(argv=("/usr/bin/pg_dump", "-f", "backup%Y.sql", "a b", "App\\Jobs", "x\\\\y"))
    )
    assert (
        command_field(line)
        .split(" && ")[1]
        .startswith(r"/usr/bin/pg_dump -f backup\%Y.sql 'a b' 'App\Jobs' 'x\''\y' >>")
    )


@given(field=TEXT)
def test_reading_knows_what_debian_does_with_percent_signs_and_backslashes(field: str):
    assert split_percent(field)[0] == after_percent_rule(field, halves_backslashes=True)[0]


def test_first_percent_sign_ends_the_command_and_the_others_are_newlines():
    assert split_percent(r"cat%one%two\%") == ("cat", "one\ntwo%")


def variables_of(text: str) -> list[tuple[str, str] | None]:
    return [load_env(line) for line in text.split("\n") if line and not line.startswith(("#", "*"))]


@given(value=TEXT, name=st.sampled_from(["A", "APP_ENV", "_x9"]))
def test_variables_arrive_as_they_are_or_mix_quotes(name: str, value: str):
    wanted = project(environment=((name, value),))
    try:
        text = render_crontab(wanted, [schedule(of=wanted)])
    except UserError:
        assert "'" in value
        assert '"' in value
        return
    assert variables_of(text)[-1] == (name, value)
    assert dict(read_crontab(text, USERS)[0].environment)[name] == value


@given(
    line=TEXT.map(lambda text: text.strip(" \t"))
    | st.from_regex(r"['\"]?[A-Z]{1,2}['\"]? ?= ?['\"]?.{0,6}['\"]? ?", fullmatch=True)
)
def test_variables_are_told_from_jobs_as_cron_does(line: str):
    if line and "\n" not in line:
        assert read_variable(line) == load_env(line)


@pytest.mark.parametrize(
    "value", ["", "a b", "it's", 'say "hi"', 'it\'s "hi"', "50% \\% #1", " padded ", "é日本"]
)
def test_usual_values_of_variables_are_held(value: str):
    wanted = project(environment=(("A", value),))
    assert ("A", value) in read_crontab(render_crontab(wanted, [schedule(of=wanted)]), USERS)[0].environment


@pytest.mark.parametrize("value", ["two\nlines", "cr\r", "nul\0", " 'both\" ", "'\"", "x" * 997])
def test_values_that_cron_cannot_hold_are_refused_without_showing_them(value: str):
    wanted = project(environment=(("TOKEN", value),))
    with pytest.raises(UserError, match="cannot put variable TOKEN into a crontab") as refused:
        render_crontab(wanted, [schedule(of=wanted)])
    assert value not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    "name", ["SHELL", "MAILTO", "LOGNAME", "CRON_TZ", "RANDOM_DELAY", "A B", "A=B", "", "#A"]
)
def test_variables_that_steer_cron_or_are_no_names_are_refused(name: str):
    wanted = project(environment=((name, "x"),))
    with pytest.raises(UserError, match="cannot put variable"):
        render_crontab(wanted, [schedule(of=wanted)])


def test_file_is_sealed_and_sets_what_cron_does_not():
    text = render_crontab(project(), [schedule(), schedule("backup", "0 2 * * *", ("/bin/true",))])
    seal = read_seal(text)
    assert seal is not None
    assert (seal.address, seal.intact) == ("myapp", True)
    assert text.split("\n")[1:] == [
        "SHELL=/bin/sh",
        f"PATH={project().path}",
        "LANG=C.UTF-8",
        "USER=myapp_user",
        'MAILTO=""',
        "",
        "# myapp/backup",
        "0 2 * * * myapp_user cd /infra/projects/myapp/current && /bin/true >> /infra/logs/projects/myapp/backup.log 2>&1",
        "",
        "# myapp/scheduler",
        LINE,
        "",
    ]


def test_the_project_may_set_its_own_path_and_language():
    wanted = project(environment=(("PATH", "/opt/php/bin:/usr/bin"), ("LANG", "de_DE.UTF-8")))
    (job,) = read_crontab(render_crontab(wanted, [schedule(of=wanted)]), USERS)
    assert dict(job.environment)["PATH"] == "/opt/php/bin:/usr/bin"
    assert dict(job.environment)["LANG"] == "de_DE.UTF-8"


def test_white_space_in_an_expression_becomes_single_blanks():
    assert render_line(schedule(cron="  0\t2  * * mon ")).startswith("0 2 * * mon myapp_user cd ")


@pytest.mark.parametrize("when", ["@reboot", "@daily", "*/5 0-6 1,15 jan-mar mon"])
def test_nicknames_and_fields_are_written_as_they_are(when: str):
    text = render_crontab(project(), [schedule(cron=when)])
    assert read_crontab(text, USERS)[0].when == when


def longest(extra: int, letter: str = "x") -> str:
    """Return a word that makes the command field as long as cron takes, and `extra` bytes longer."""
    free = MAX_COMMAND_BYTES - len(command_field(render_line(schedule(argv=("/bin/echo", "x")))).encode()) + 1
    return letter * (free // len(letter.encode())) + "x" * (free % len(letter.encode()) + extra)


def test_longest_command_is_998_bytes():
    field = command_field(render_line(schedule(argv=("/bin/echo", longest(0)))))
    assert len(field.encode()) == 998


@pytest.mark.parametrize("word", [longest(1), longest(1, "é"), "%" * 500], ids=["ascii", "utf-8", "escaped"])
def test_longer_commands_are_refused_with_a_way_out(word: str):
    with pytest.raises(UserError, match=r"its command has \d+ bytes, cron takes 998") as refused:
        render_line(schedule(argv=("/bin/echo", word)))
    assert "script" in refused.value.hint


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "a\x1bb", "\udcff"])
@pytest.mark.parametrize("where", ["argv", "root", "logs"])
def test_characters_that_a_line_cannot_hold_are_refused(bad: str, where: str):
    of = project() if where == "argv" else project(**{where: f"/srv/{bad}"})
    with pytest.raises(UserError, match="a line cannot hold the character"):
        render_line(schedule(argv=("/bin/echo", bad) if where == "argv" else ("/bin/echo",), of=of))


@pytest.mark.parametrize("argv", [("A=1", "x"), ("if",), ("echo",)])
def test_a_first_word_that_the_shell_could_take_for_syntax_is_refused(argv: tuple[str, ...]):
    with pytest.raises(UserError, match="cron would run something else"):
        render_crontab(project(), [schedule(argv=argv)])


def test_an_expression_cannot_smuggle_a_user_or_a_command_into_the_line():
    with pytest.raises(UserError):
        render_crontab(project(), [schedule(cron="* * * * * root id #")])


def test_a_user_who_cannot_be_named_in_a_line_is_refused():
    odd = project(account=Account("my user", 1001, 1002, "g", "/"))
    with pytest.raises(UserError):
        render_crontab(odd, [schedule(of=odd)])


SEALED = render_crontab(project(), [schedule(argv=("/bin/echo", "100%", "a b"))])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"100\%", "100%"),
        ("'a b'", "a b"),
        ("* * * * *", "0 * * * *"),
        ("'a b'", "'a b' c"),
        ("'a b'", "'a b'; id"),
        ("'a b'", '"a b"'),
        ("'a b'", "'a b' $HOME"),
        ("/bin/echo", "nice /bin/echo"),
        ("scheduler.log", "other.log"),
        ("myapp/current", "other/current"),
        (" && ", " ; "),
        (" 2>&1", ""),
        (" 2>&1", r" 2>&1\%"),
    ],
)
def test_check_sees_every_difference_from_what_is_meant(before: str, after: str):
    meant = [meant_by(schedule(argv=("/bin/echo", "100%", "a b")))]
    check(SEALED, USERS, meant)
    lines = SEALED.rstrip("\n").split("\n")
    broken = "\n".join([*lines[:-1], lines[-1].replace(before, after)]) + "\n"
    assert broken != SEALED
    with pytest.raises(UserError, match="cron would run something else"):
        check(broken, USERS, meant)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("* * * * * myapp_user true", "no newline at its end"),
        ("* * * * * nobody_here true\n", "names user 'nobody_here', who does not exist"),
        ("* * * * *\tmyapp_user\n", "line 1 of the crontab is no job"),
        ("A=1\n\n# x\nhello\n", "line 4 of the crontab is no job"),
        ("* * * * * myapp_user true\r\n", "cannot hold the character"),
        ("* * * * * myapp_user \0\n", "cannot hold the character"),
        ("* * * * * myapp_user " + "x" * 999 + "\n", "the command on line 1 of the crontab has 999 bytes"),
        ('A="' + "x" * 995 + '"\n', "the variable on line 1 of the crontab has 999 bytes"),
        ("# x\n" * 10_001, "more than 10000 lines"),
    ],
)  # fmt: skip
def test_what_makes_cron_ignore_a_whole_file_is_refused(text: str, complaint: str):
    with pytest.raises(UserError, match=complaint):
        read_crontab(text, USERS)


def test_reading_skips_comments_and_blank_lines_and_keeps_variables_for_the_lines_below():
    text = '# A=0\n\n  A = "x y"  \n\t* * * * * myapp_user echo # no comment\nA=2\n@daily myapp_user cat%in\n'
    first, second = read_crontab(text, USERS)
    assert (first.when, first.command, first.environment) == (
        "* * * * *",
        "echo # no comment",
        (("A", "x y"),),
    )
    assert (second.when, second.command, second.stdin, second.environment) == (
        "@daily",
        "cat",
        "in",
        (("A", "2"),),
    )


def test_path_of_the_file_has_a_name_that_cron_reads():
    assert crontab_path(site(), "my-app_2") == "/etc/cron.d/shiftboss-my-app_2"
    with pytest.raises(UserError, match="cron would not read a file called"):
        crontab_path(site(), "my.app")
