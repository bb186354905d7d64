"""Programs of Supervisor and services of systemd that run a project's Laravel scheduler beside us."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping

from shiftboss.backends.cron_duplicates import scheduled_artisans

_SECTION = re.compile(r"\[([^\]\n]{1,128})\]")
_SETTING = re.compile(r"([A-Za-z]{1,40})[ \t]*=[ \t]*(.{0,4096})")
_COMMANDS = frozenset({"command", "execstart"})
_DIRECTORIES = frozenset({"directory", "workingdirectory"})
_WORDS = re.compile(r"[\w.@-]{1,100}")


def doubled_programs(places: frozenset[str], files: Mapping[str, str]) -> tuple[str, ...]:
    """Return one note for each `[program:x]` of Supervisor files that runs the scheduler of an artisan in `places`."""
    return tuple(
        f"{path} [program:{name}] runs the same scheduler ({where}): every task would run twice; "
        f"stop it and remove it from that file: supervisorctl stop '{name}'"
        for path, text in sorted(files.items())
        for section, where in _found(text, places)
        if _WORDS.fullmatch(name := section.removeprefix("program:"))
    )


def doubled_services(places: frozenset[str], files: Mapping[str, str]) -> tuple[str, ...]:
    """Return one note for each unit file of systemd that runs the scheduler of an artisan in `places`."""
    return tuple(
        f"{path} runs the same scheduler ({where}): every task would run twice; "
        f"disable it, and its timer if it has one: systemctl disable --now {name}"
        for path, text in sorted(files.items())
        for _, where in _found(text, places)
        if _WORDS.fullmatch(name := path.rpartition("/")[2])
    )


def _found(text: str, places: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield section and artisan of every section that starts a scheduler."""
    for section, command, directory in _sections(text.split("\n")):
        line = f"cd {shlex.quote(directory)} && {command}" if directory else command
        for artisan in scheduled_artisans(line):
            if artisan in places:
                yield section, artisan
                break


def _sections(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    section, command, directory = "", "", ""
    for line in (*lines, "[]end"):
        if line.startswith("["):
            if command:
                yield section, command, directory
            found = _SECTION.match(line)
            section, command, directory = found[1] if found else "", "", ""
        elif (setting := _SETTING.match(line)) is not None:
            key = setting[1].lower()
            if key in _COMMANDS:
                command = setting[2]
            elif key in _DIRECTORIES:
                directory = setting[2].strip()
