"""PHP's mail() through a really setgid program, as postfix's postdrop is: standard isolation takes its rights."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.server import Server, TestProject, on_native

pytestmark = [pytest.mark.needs_root, on_native]

GROUP = 8  # mail: in every Debian; nobody's project is in it
MAILER = """\
interpreters = {{ php = "{php}" }}
[schedules.mailer]
cron = "0 4 1 1 *"
backend = "native"
command = ["php", "-r", "exit(mail('ann@example.com', 'greetings', 'the text') ? 0 : 9);"]
{more}
"""


@pytest.fixture
def maildrop(server: Server) -> Path:
    """Make what postfix has: a directory that only a group may write to, and a program that is setgid to it."""
    place = server.directory / "mta"
    place.mkdir()
    place.chmod(0o755)
    drop = place / "maildrop"
    drop.mkdir()
    os.chown(drop, 0, GROUP)
    drop.chmod(0o730)
    shutil.copy("/usr/bin/tee", place / "postdrop")
    os.chown(place / "postdrop", 0, GROUP)
    (place / "postdrop").chmod(0o2755)
    php = place / "php"
    php.write_text(
        f"#!/bin/sh\nexec /usr/bin/php -d sendmail_path='{place}/postdrop -a {drop}/mail' \"$@\"\n"
    )
    php.chmod(0o755)
    return drop


@pytest.fixture
def shop(server: Server, maildrop: Path) -> TestProject:
    project = server.add_project()
    project.release()
    return project


def declare(shop: TestProject, maildrop: Path, more: str) -> None:
    file = shop.project_file()
    file.parent.mkdir(exist_ok=True)
    text = MAILER.format(php=maildrop.parent / "php", more=more)
    file.write_text(f'[project]\nuser = "{shop.user}"\n{text}')


def mail_findings(server: Server, shop: TestProject) -> list[str]:
    found = json.loads(server.run("doctor", shop.name, "--json").stdout)["findings"]
    return [finding["message"] for finding in found if finding["code"] == "mail"]


def test_mail_fails_under_standard_is_foretold_and_works_where_the_unit_is_let(
    server: Server, shop: TestProject, maildrop: Path
) -> None:
    name, postdrop = f"{shop.name}/mailer", str(maildrop.parent / "postdrop")
    assert (maildrop.parent / "postdrop").stat().st_mode & 0o2000, "it must really be setgid"
    declare(shop, maildrop, "")
    server.ok("apply", shop.name)
    [message] = mail_findings(server, shop)
    assert f"sendmail_path leads to {postdrop}" in message
    assert "no_new_privs = false" in message

    ran = server.run("run", name)
    assert ran.status == 9, ran
    assert "Permission denied" in ran.stdout + shop.log("mailer"), ran
    assert not (maildrop / "mail").exists()

    declare(shop, maildrop, "no_new_privs = false")
    server.ok("apply", shop.name)
    assert mail_findings(server, shop) == []

    server.ok("run", name)
    mail = maildrop / "mail"
    assert "the text" in mail.read_text()
    assert mail.stat().st_gid == GROUP
    assert mail.owner() == shop.user


def test_isolation_none_lets_it_work_too(server: Server, shop: TestProject, maildrop: Path) -> None:
    declare(shop, maildrop, 'isolation = "none"')
    server.ok("apply", shop.name)
    assert mail_findings(server, shop) == []
    server.ok("run", f"{shop.name}/mailer")
    assert "greetings" in (maildrop / "mail").read_text()
