"""Lines of other crontabs that run the same Laravel scheduler: every task of the project would run twice."""

import re
import shlex
from collections.abc import Iterator, Mapping

from shiftboss.core.spec import Project

_SCHEDULER = re.compile(r"\bschedule:(run|work)\b")
_LONGEST = 4096
_SHELL_MARKS = re.compile(r"[;&|<>()]+")


def duplicates(project: Project, crontabs: Mapping[str, str], release: str | None = None) -> tuple[str, ...]:
    """Return one note for each line of `crontabs` (path to text) that runs this project's artisan scheduler.

    `release` is where `current` leads now; a line may name either. The texts are anybody's: nothing of
    them but the path and the number of a line is shown.
    """
    places = artisan_places(project, release)
    return tuple(
        f"{path} line {number} runs the same scheduler ({project.current}/artisan): every task would run twice; "
        "remove that line"
        for path, text in sorted(crontabs.items())
        for number, line in enumerate(text.split("\n"), 1)
        if not places.isdisjoint(scheduled_artisans(line))
    )


def artisan_places(project: Project, release: str | None) -> frozenset[str]:
    """Return the paths of a project's artisan: through `current`, and in the release that it leads to now."""
    return frozenset(f"{directory}/artisan" for directory in (project.current, release) if directory)


def scheduled_artisans(line: str) -> Iterator[str]:
    """Yield the absolute path of every artisan that a line starts a scheduler with, as far as it can be told."""
    if line.lstrip().startswith("#") or not _SCHEDULER.search(line):
        return
    directory, before = "", ""
    for word in _shell_words(line[:_LONGEST]):
        if before == "cd":
            directory = word
        elif word.rpartition("/")[2] == "artisan":
            yield _normal(word if word.startswith("/") else f"{directory}/{word}")
        before = word


def _shell_words(line: str) -> list[str]:
    """Split as the shell would, but never fail; marks such as `&&` become words of their own."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed, or a `%` that ended the command
        return _SHELL_MARKS.sub(" ", re.sub(r"['\"]", "", line)).split()


def _normal(path: str) -> str:
    """Return a path without `.`, `..` and double slashes; links are not looked at."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)
