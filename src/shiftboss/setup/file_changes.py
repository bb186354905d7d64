"""The files of a plan, put in place all together or not at all.

Everything that needs room on a disk is written beside its place before the first file is replaced: the new
texts, and copies of the old ones to put back.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from shiftboss.backends.launch_places import orders_directories
from shiftboss.backends.native_manifest import manifest_directory
from shiftboss.core.errors import HostError, ShiftbossError
from shiftboss.core.plan import RemoveFile, WriteFile
from shiftboss.core.spec import Site
from shiftboss.host.interrupts import uninterrupted
from shiftboss.host.ports import Files
from shiftboss.setup.catalog import accepted_directory

FileAction = WriteFile | RemoveFile
_KEPT_MODE, _PRIVATE_MODE = 0o600, 0o700


def require_unchanged(files: Files, actions: Iterable[FileAction]) -> None:
    """Raise HostError if a file is not any more what the plan was made from."""
    for action in actions:
        if files.read(action.path) != action.before:
            raise HostError(
                f"cannot change {action.path}: somebody else changed it just now",
                hint="Run the command again.",
            )


@contextlib.contextmanager
def staged(files: Files, site: Site, actions: Iterable[FileAction]) -> Iterator["FileChanges"]:
    """Write everything beside its place; what was not put in place in the end is removed. Raises HostError."""
    changes = FileChanges(files, site)
    try:
        for action in actions:
            changes.stage(action)
        yield changes
    finally:
        changes.clean_up()


class FileChanges:
    """File actions between their staging and the moment from which there is no way back (`staged` makes it)."""

    def __init__(self, files: Files, site: Site) -> None:
        self._files = files
        self._own_directories = {
            os.path.dirname(site.config_file),
            site.projects_d,
            site.state,
            manifest_directory(site),
            accepted_directory(site),
            *orders_directories(site),
        }
        self._actions: list[FileAction] = []
        self._new: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def stage(self, action: FileAction) -> None:
        """Write what an action needs: its new text, and the old one (with its mode) to put back."""
        if isinstance(action, WriteFile):
            self._make_parent(action.path)
            self._keep_copy(action)
            self._write_beside(self._new, action.path, action.content, action.mode)
        if action.before is not None:
            facts = self._files.stat(action.path)
            self._write_beside(self._old, action.path, action.before, facts.mode if facts else _KEPT_MODE)
        self._actions.append(action)

    def commit(self) -> None:
        """Put all files in their places; raises HostError if one cannot be, and then none is."""
        with uninterrupted():
            try:
                for action in self._actions:
                    if isinstance(action, WriteFile):
                        self._move(self._new, action.path)
                    else:
                        self._files.remove(action.path)
            except ShiftbossError as error:
                self.put_back(error)
                raise

    def put_back(self, cause: ShiftbossError) -> None:
        """Put the old files back; raises HostError if that fails too, with the cause of it all."""
        failed = []
        with uninterrupted():
            for action in self._actions:
                try:
                    if action.before is None:
                        self._files.remove(action.path)
                    elif action.path in self._old:
                        self._move(self._old, action.path)
                except ShiftbossError:
                    failed.append(action.path)
        if failed:
            raise HostError(
                f"{cause.message}; then these files could not be put back: {', '.join(failed)}",
                hint=f"{cause.hint} Afterwards see what is different: shiftboss plan".lstrip(),
            ) from cause

    def clean_up(self) -> None:
        """Remove what still stands beside its place."""
        with uninterrupted():
            for path in (*self._new.values(), *self._old.values()):
                with contextlib.suppress(ShiftbossError):  # a leftover harms nobody: its name ends in ~
                    self._files.remove(path)

    def _make_parent(self, path: str) -> None:
        """Our own directories come into being with the first file in them; those of others must exist."""
        directory = os.path.dirname(path)
        if directory in self._own_directories:
            self._files.make_directory(directory, 0, 0, 0o755)

    def _keep_copy(self, action: WriteFile) -> None:
        """Keep the text of a file that was not ours."""
        if action.keep_copy and action.before is not None:
            self._files.make_directory(os.path.dirname(action.keep_copy), 0, 0, _PRIVATE_MODE)
            copy: dict[str, str] = {}
            self._write_beside(copy, action.keep_copy, action.before, _KEPT_MODE)
            self._move(copy, action.keep_copy)

    def _write_beside(self, places: dict[str, str], path: str, text: str, mode: int) -> None:
        with uninterrupted():  # or a file would stand there that nobody knows of
            places[path] = self._files.stage(path, text, mode)

    def _move(self, places: dict[str, str], path: str) -> None:
        self._files.commit(places[path], path)
        del places[path]


def mode_of(files: Files, path: str, new: int = 0o600) -> int:
    """Return the mode that a file keeps when its text changes; `new` if there is none yet.

    A project file holds commands and variables, which may be secrets: a new one is for its owner alone.
    """
    facts = files.stat(path)
    return new if facts is None else facts.mode
