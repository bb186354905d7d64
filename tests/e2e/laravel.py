"""A real Laravel application as a project: made from tests/e2e/apps/laravel, with Debian's framework."""

import base64
import json
import os
import re
from pathlib import Path

from tests.e2e.server import Server, TestProject


def laravel_project(server: Server) -> TestProject:
    """Return a project whose first release is a migrated Laravel application with a database queue."""
    project = server.add_project()
    shared = project.root / "shared"
    (shared / "storage").mkdir(parents=True)
    project.own(shared)
    laravel_release(project, 1)
    project.as_user("php", "artisan", "migrate", "--force", "--quiet")
    return project


def laravel_release(project: TestProject, number: int) -> Path:
    """Make a release; storage, database and .env are shared, as deploy tools do it."""
    release = project.release(number, app="laravel")
    shared = project.root / "shared"
    if not (shared / ".env").exists():
        (shared / "database.sqlite").touch()
        for name in ("app/outbox", "logs", "framework/cache/data", "framework/views", "framework/sessions"):
            (shared / "storage" / name).mkdir(parents=True, exist_ok=True)
        (shared / ".env").write_text(_env(release))
        project.own(shared)
    (release / "bootstrap" / "cache").mkdir(parents=True, exist_ok=True)
    (release / "resources" / "views").mkdir(parents=True, exist_ok=True)
    (release / "storage").symlink_to("../../shared/storage")
    (release / ".env").symlink_to("../../shared/.env")
    (release / "database" / "database.sqlite").symlink_to("../../../shared/database.sqlite")
    (release / "RELEASE").write_text(f"{number}\n")
    project.own(release)
    return release


def _env(release: Path) -> str:
    key = "base64:" + base64.b64encode(os.urandom(32)).decode()
    text = re.sub(r"(?m)^APP_KEY=.*$", f"APP_KEY={key}", (release / ".env.example").read_text())
    return re.sub(r"(?m)^QUEUE_CONNECTION=.*$", "QUEUE_CONNECTION=database", text)


def queue_mail(project: TestProject, name: str, *, seconds: float = 0, count: int = 1) -> None:
    """Put jobs on the queue that take so many seconds each."""
    project.as_user("php", "artisan", "app:mail", name, f"--seconds={seconds}", f"--count={count}")


def outbox(project: TestProject, pattern: str = "*.eml") -> list[Path]:
    """Return the mails that are sent (`*.started`: those that were begun)."""
    return sorted((project.root / "shared" / "storage" / "app" / "outbox").glob(pattern))


def status(server: Server, project: TestProject) -> list[dict[str, object]]:
    """Return the processes of a project's first worker as `status --json` tells them."""
    answer = server.run("status", project.name, "--json")
    workers = json.loads(answer.stdout)["projects"][0]["workers"]
    return [process for worker in workers for process in worker["processes"]]
