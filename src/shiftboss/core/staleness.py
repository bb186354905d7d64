"""Which release a process runs, told from its working directory."""

_DELETED = " (deleted)"


def is_deleted(working_directory: str | None) -> bool | None:
    """Tell whether the directory that a process works in is gone; None if it is not known."""
    return None if working_directory is None else working_directory.endswith(_DELETED)


def runs_old_release(working_directory: str | None, root: str, release: str | None) -> bool | None:
    """Tell whether a process still runs another release than the one `current` leads to.

    `working_directory` is as /proc/<pid>/cwd shows it. None if it does not tell: the process is elsewhere
    (it changed its directory), or there is no release.
    """
    if working_directory is None or release is None:
        return None
    if working_directory.endswith(_DELETED):
        return True
    if is_inside(working_directory, release):
        return False
    return True if is_inside(working_directory, root) else None


def is_inside(path: str, directory: str) -> bool:
    """Tell whether a path is a directory or below it (as text: both absolute and resolved)."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")
