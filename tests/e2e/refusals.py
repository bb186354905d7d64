"""What every refusal looks like, and how to tell that nothing was changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shiftboss.host.supervisord import Supervisord
from tests.e2e.server import Answer, Server

REFUSED_BY_HOST, WRONG_USE = 1, 2
INTERRUPTED = 130


def assert_refused(answer: Answer, status: int, *words: str) -> None:
    """Assert one error line that begins with `error:`, a hint below it, these words in the two, and no traceback."""
    lines = answer.stderr.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert answer.status == status, answer
    assert len(errors) == 1, answer
    assert "Traceback" not in answer.stderr + answer.stdout, answer
    said = lines[errors[0] :]
    assert len(said) > 1, f"no hint: {answer}"
    assert all(line.startswith("  ") for line in said[1:]), answer
    for word in words:
        assert word in "\n".join(said), f"{word!r} is not in {answer}"


@contextmanager
def nothing_changes(server: Server, *, running: bool = True) -> Iterator[None]:
    """Assert that what is inside changes no file, no log directory and no process."""
    before = _everything(server, running=running)
    yield
    after = _everything(server, running=running)
    for was, now in zip(before, after, strict=True):
        assert now == was


def processes(server: Server) -> dict[str, int]:
    """Return the pid of every process, 0 for one that does not run, by the names of `TestProject.states`."""
    if server.is_native:
        return server.keeper.pids()
    facts = Supervisord(server.supervisord.site).facts()
    return {f"{process.group}:{process.name}": process.pid for process in facts.processes}


def _everything(server: Server, *, running: bool) -> tuple[object, ...]:
    return server.snapshot(), _places(server.directory / "logs"), processes(server) if running else None


def _places(top: Path) -> list[tuple[str, int, int]]:
    return [(str(path), path.lstat().st_uid, path.lstat().st_mode) for path in sorted(top.rglob("*"))]
