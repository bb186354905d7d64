"""The systemd unit of the native backend, as text. See systemd.service(5), systemd.exec(5), systemd.kill(5)."""

import re
from collections.abc import Sequence

from shiftboss.core.managed import seal

UNIT = "shiftboss.service"
ADDRESS = "service"  # in the seal
DIGEST = "SHIFTBOSS_KEEPER"  # the variable that tells of a running keeper which code it is
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
# a worker may have a day to finish (`stop_wait`), and the keeper kills each when its own time is over
_STOP_SECONDS = 86_400 + 60

_SYSTEM_AFTER = (
    "network.target remote-fs.target nss-user-lookup.target mysql.service mariadb.service postgresql.service"
    " redis-server.service redis.service memcached.service rabbitmq-server.service beanstalkd.service"
)


def unit_text(argv: Sequence[str], *, digest: str, system: bool) -> str:
    """Return the unit that runs `argv`, a keeper of the code `digest`: of the server, or of one user's manager."""
    return seal(
        "\n".join((*_unit(system), *_service(argv, digest, system), *_install(system))), ADDRESS, comment="#"
    )


def _unit(system: bool) -> list[str]:
    return [
        "# Settings of your own: systemctl edit shiftboss.",
        "[Unit]",
        "Description=shiftboss: background workers and scheduled tasks",
        "# databases and queues, where they are on this machine: workers start after them and end before them",
        *([f"After={_SYSTEM_AFTER}"] if system else []),
        "StartLimitIntervalSec=0",
        "",
    ]


def _service(argv: Sequence[str], digest: str, system: bool) -> list[str]:
    return [
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={command_line(argv)}",
        "ExecReload=kill -HUP $MAINPID",
        f"Environment={DIGEST}={digest}",
        "Restart=always",
        "RestartSec=500ms",
        "# the keeper stops everything as each worker's own settings say; what an ended keeper left is killed",
        "KillMode=mixed",
        "# before it is ready a keeper waits for what an earlier one left; at the end for each worker's own time",
        f"TimeoutStartSec={_STOP_SECONDS}",
        f"TimeoutStopSec={_STOP_SECONDS}",
        "# each process gets a cgroup of its own below this service",
        "Delegate=yes",
        "TasksMax=infinity",
        "# a worker that runs out of memory dies alone",
        "OOMPolicy=continue",
        "UMask=0022",
        "# no RuntimeDirectory=: systemd would remove it at each stop, with the lock that commands hold in it.",
        "# No sandbox here: workers would inherit it, and it would say no where a project may do a thing.",
        *(
            ["CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_MAC_ADMIN CAP_MAC_OVERRIDE"]
            if system
            else []
        ),
        "",
    ]


def _install(system: bool) -> list[str]:
    return ["[Install]", f"WantedBy={'multi-user' if system else 'default'}.target", ""]


def command_line(argv: Sequence[str]) -> str:
    """Return the words as ExecStart= reads them back: no specifier, no variable, no quoting is left to it."""
    return " ".join(map(_word, argv))


def _word(word: str) -> str:
    escaped = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return escaped
    quoted = escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{quoted}"'
