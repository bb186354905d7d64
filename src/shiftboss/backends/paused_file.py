"""The file that says which schedules of a project on cron are paused; the launcher reads it at each run."""

from collections.abc import Mapping

import msgspec

from shiftboss.core.errors import UserError

_VERSION = 1


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    project: str
    paused: dict[str, str]


def paused_text(project: str, paused: Mapping[str, str]) -> str:
    """Return the text that says by whom schedules are paused, by their names."""
    made = _File(_VERSION, project, dict(sorted(paused.items())))
    return msgspec.json.encode(made).decode() + "\n"


def read_paused(text: str | None, path: str) -> dict[str, str]:
    """Return by whom schedules are paused, by their names; raise UserError for a text that does not say."""
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=_File).paused
    except msgspec.MsgspecError as error:
        raise UserError(
            f"cannot tell which schedules are paused: {path}: {error}",
            hint="Nothing of it runs until that is mended: remove the file, and pause again what shall be paused.",
        ) from error
