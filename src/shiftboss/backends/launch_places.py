"""Where the launcher finds its orders, and where it writes down what became of them."""

from shiftboss.core.spec import Site

_BACKENDS = ("supervisor", "cron")


def orders_directory(site: Site, backend: str) -> str:
    """Return the directory that the launcher of a backend reads."""
    return f"{site.state}/launch/{backend}"


def orders_directories(site: Site) -> tuple[str, ...]:
    """Return every directory with orders."""
    return tuple(orders_directory(site, backend) for backend in _BACKENDS)


def paused_path(site: Site, project: str) -> str:
    """Return where it is written which schedules of a project are paused."""
    return f"{orders_directory(site, 'cron')}/{project}.paused"


def spool_directory(site: Site) -> str:
    """Return where the launcher keeps what became of the runs that cron started."""
    return f"{site.state}/spool"
