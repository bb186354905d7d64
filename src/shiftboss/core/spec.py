"""What is wanted, as frozen values: every question about paths, users and commands is answered in them."""

from typing import Literal

from msgspec import Struct

from shiftboss.core.every import duration_text
from shiftboss.core.names import address
from shiftboss.core.run_policy import Policy

StopScope = Literal["main", "group"]
Restart = Literal["always", "on-failure", "never"]
UnitKind = Literal["worker", "schedule"]
DstPolicy = Literal["debian", "skip"]
"""What becomes of a fixed-time job in a gap: `debian` runs it right after the gap, `skip` leaves it out."""
IsolationLevel = Literal["none", "standard", "strict"]
Environment = tuple[tuple[str, str], ...]
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Account(Struct, frozen=True):
    """A Unix account as the passwd database has it; `group` is the name of its primary group.

    `groups` are the ids of all its groups, if they were looked up.
    """

    name: str
    uid: int
    gid: int
    group: str
    home: str
    shell: str = "/bin/sh"
    groups: tuple[int, ...] = ()


class Limits(Struct, frozen=True):
    """What a unit, or all of a project together, may use; 0 means no limit.

    `cpu_percent` is of one core (200: two cores). `memory_soft_bytes`: from here on it is asked to start afresh.
    `nice` 0 is the usual, `io_weight` 1 to 10000 against 100 of everything else.
    """

    memory_bytes: int = 0
    memory_soft_bytes: int = 0
    cpu_percent: int = 0
    tasks_max: int = 0
    nofile: int = 0
    nice: int = 0
    io_weight: int = 0


class Isolation(Struct, frozen=True):
    """How far a unit is shut in, as asked for; None: not said (see core/isolation.py for what then holds)."""

    level: IsolationLevel | None = None
    no_new_privs: bool | None = None
    private_network: bool = False


class People(Struct, frozen=True):
    """Users and groups, by number."""

    users: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()


NOBODY = People()


class Project(Struct, frozen=True):
    """A project: where it lives, as whom it runs, where it logs. Paths are absolute and not resolved.

    `log_total_bytes` is the cap of all its logs together, 0 for none. `operators` may control it without root, as
    its own user may; `viewers` may look.
    """

    name: str
    root: str
    logs: str
    account: Account
    environment: Environment = ()
    path: str = DEFAULT_PATH
    log_total_bytes: int = 1024**3
    budget: Limits = Limits()
    operators: People = NOBODY
    viewers: People = NOBODY

    @property
    def current(self) -> str:
        """The link to the live release; programs are started through it, never in the directory behind it."""
        return f"{self.root}/current"


class StopPolicy(Struct, frozen=True):
    """How a worker is stopped: `signal` (name without SIG) to `scope`, SIGKILL after `wait_seconds`."""

    signal: str = "TERM"
    wait_seconds: int = 30
    scope: StopScope = "group"


class LogPolicy(Struct, frozen=True):
    """Rotation: `max_bytes` a file and `backups` rotated files beside it."""

    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5


class Worker(Struct, frozen=True):
    """A long-running program of a project, run as `processes` processes (numbered from 1).

    `argv` is ready to be executed: `argv[0]` is absolute and no shell is implied. `restart_limit`: so many failed
    starts in a row and it is given up, 0 for never. `env_file`: absolute path of a file of variables, "" for none.
    `scale_max`: so many processes at most when it is scaled without root, 0 for `processes`.
    """

    project: Project
    name: str
    preset: str
    backend: str
    argv: tuple[str, ...]
    processes: int = 1
    stop: StopPolicy = StopPolicy()
    start_seconds: int = 1
    environment: Environment = ()
    log: LogPolicy = LogPolicy()
    exit_meanings: tuple[tuple[int, str], ...] = ()
    restart: Restart = "always"
    restart_limit: int = 0
    env_file: str = ""
    limits: Limits = Limits()
    isolation: Isolation = Isolation()
    scale_max: int = 0

    @property
    def address(self) -> str:
        """The address users type: `myapp/queue`."""
        return address(self.project.name, self.name)

    @property
    def log_path(self) -> str:
        """The file that takes stdout and stderr of every process of this worker."""
        return f"{self.project.logs}/{self.name}.log"


class Schedule(Struct, frozen=True):
    """A command of a project with times: `cron` (the expression as the user wrote it), `every` or `after`.

    Of the three exactly one is given: `every` in seconds, `after` as the address of another schedule.
    `only_if` is ready to be executed, like `argv`. `asked` are the keys of its table that a backend must either
    respect or name: what the user wrote, not what is the default. `plain`: where cron runs it, nothing of ours is in
    between.
    """

    project: Project
    name: str
    preset: str
    backend: str
    cron: str
    argv: tuple[str, ...]
    log: LogPolicy = LogPolicy()
    environment: Environment = ()
    timezone: str = ""
    every: int = 0
    after: str = ""
    dst: DstPolicy = "debian"
    policy: Policy = Policy()
    only_if: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    limits: Limits = Limits()
    isolation: Isolation = Isolation()
    plain: bool = False

    @property
    def address(self) -> str:
        """The address users type: `myapp/backup`."""
        return address(self.project.name, self.name)

    @property
    def times(self) -> str:
        """When it runs, in the words of its file: `0 2 * * *`, `every 90 seconds`, `after myapp/dump`."""
        if self.after:
            return f"after {self.after}"
        return f"every {duration_text(self.every)}" if self.every else self.cron

    @property
    def log_path(self) -> str:
        """The file that takes the output of every run."""
        return f"{self.project.logs}/{self.name}.log"


Unit = Worker | Schedule


class SupervisorSite(Struct, frozen=True):
    """Where Supervisor is. Empty strings mean: as the server's own supervisord.conf says."""

    conf_file: str = ""
    conf_dir: str = ""
    server: str = ""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Show all but the login."""
        return f"SupervisorSite({self.conf_file!r}, {self.conf_dir!r}, {self.server!r})"


class Site(Struct, frozen=True):
    """This server as config.toml describes it. `system` is true when we act as root for real servers.

    `projects`, `logs` and `user` are the layout; the first two are directories that contain one directory
    for each project, `user` is a pattern with `{project}`.
    """

    config_file: str
    projects_d: str
    state: str
    run: str
    projects: str
    logs: str
    user: str
    system: bool
    worker_backend: str = ""
    schedule_backend: str = ""
    supervisor: SupervisorSite = SupervisorSite()
    cron_dir: str = "/etc/cron.d"
    logrotate_dir: str = "/etc/logrotate.d"
    max_runs: int = 0
    max_runs_per_project: int = 0

    @property
    def api_socket(self) -> str:
        """Where the native engine listens."""
        return f"{self.run}/api.sock"
