"""A second line for the same scheduler is found wherever it is, and only for the same project."""

import pytest
from tests.small_server import project

from shiftboss.backends.cron_duplicates import duplicates

RELEASE = "/infra/projects/myapp/releases/42"
SPOOL = "/var/spool/cron/crontabs/deploy"


def found(line: str, release: str | None = RELEASE) -> int:
    return len(duplicates(project(), {SPOOL: f"# mine\n{line}\n"}, release))


@pytest.mark.parametrize(
    "line",
    [
        "* * * * * cd /infra/projects/myapp/current && php artisan schedule:run >> /dev/null 2>&1",
        "* * * * * php /infra/projects/myapp/current/artisan schedule:run",
        "* * * * * /usr/bin/php8.2 -q '/infra/projects/myapp/current/artisan' schedule:run",
        '* * * * * www-data cd "/infra/projects/myapp/current/"; php ./artisan schedule:run',
        "*/5 * * * * cd /infra/projects/myapp && php current/artisan schedule:run",
        "@reboot cd /infra/projects/myapp/releases/../current && nohup php artisan schedule:work &",
        f"* * * * * cd {RELEASE} && php artisan schedule:run",
        "* * * * * (cd /infra/projects/myapp/current && flock -n /tmp/l php artisan schedule:run)",
        "* * * * * cd /infra/projects/myapp/current && php artisan schedule:run | mail -s 'it's broken",
    ],
)
def test_every_way_to_run_the_same_scheduler_is_found(line: str):
    assert found(line) == 1


@pytest.mark.parametrize(
    "line",
    [
        "# * * * * * cd /infra/projects/myapp/current && php artisan schedule:run",
        "* * * * * cd /infra/projects/myapp/current && php artisan queue:restart",
        "* * * * * cd /infra/projects/myapp2/current && php artisan schedule:run",
        "* * * * * cd /infra/projects/other/current && php artisan schedule:run # myapp/current",
        "* * * * * cd /infra/projects/myapp/current/sub && php artisan schedule:run",
        "* * * * * cd /infra/projects/myapp/releases/41 && php artisan schedule:run",
        "* * * * * php artisan schedule:run",
        "",
    ],
)
def test_other_lines_are_not(line: str):
    assert found(line) == 0


def test_without_a_release_only_the_link_counts():
    assert found(f"* * * * * cd {RELEASE} && php artisan schedule:run", release=None) == 0


def test_a_note_names_file_and_line_and_shows_nothing_of_a_strangers_text():
    hostile = "* * * * * cd /infra/projects/myapp/current && php artisan schedule:run \x1b[31m\x07"
    (note,) = duplicates(project(), {SPOOL: f"\n\n{hostile}\n"}, RELEASE)
    assert f"{SPOOL} line 3" in note
    assert "\x1b" not in note


def test_endless_lines_of_strangers_cost_little():
    line = "* * * * * schedule:run " + "cd / artisan '" * 100_000
    assert duplicates(project(), {SPOOL: line}, RELEASE) == ()
