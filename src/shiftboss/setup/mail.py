"""Whether PHP's mail() can work where setuid and setgid programs give no rights (no_new_privs)."""

import posixpath
import shlex

from shiftboss.core.isolation import default_level, level_of, takes_privileges
from shiftboss.core.spec import Unit
from shiftboss.host.machine import Machine

_SPECIAL = 0o6000
_SECONDS = 5
# what the sendmail of a mail server hands the mail to (postfix: sendmail(1), postdrop(1); nullmailer)
_BEHIND = ("/usr/sbin/postdrop", "/usr/sbin/nullmailer-queue")


def mail_trouble(machine: Machine, unit: Unit) -> str | None:
    """Return what is wrong with mail() of a PHP unit under no_new_privs, None if nothing is; asks PHP as its user."""
    shut = takes_privileges(unit.isolation, level_of(unit.isolation, default_level(unit)))
    if not shut or not posixpath.basename(unit.argv[0]).startswith("php"):
        return None
    ask = (unit.argv[0], "-r", 'echo ini_get("sendmail_path");')
    ended = machine.commands.run(ask, account=unit.project.account, timeout=_SECONDS)
    program = _first_word(ended.stdout) if ended.status == 0 else ""
    special = _special(machine, program)
    if special is None:
        return None
    return (
        f"mail() of PHP in {unit.address} fails: sendmail_path leads to {special}, which needs rights that "
        f"no_new_privs takes (with postfix it hangs: postdrop tries for ever). Send by SMTP, or set no_new_privs = false for {unit.name} in the project file"
    )


def _first_word(text: str) -> str:
    try:
        words = shlex.split(text[:1000])
    except ValueError:
        return ""
    return words[0] if words and words[0].startswith("/") else ""


def _special(machine: Machine, program: str) -> str | None:
    """Return the setuid or setgid program behind a sendmail, None if there is none."""
    real = machine.files.real_path(program) if program else None
    if real is None:
        return None
    behind: tuple[str, ...] = _BEHIND if "sendmail" in posixpath.basename(real) else ()
    candidates: tuple[str, ...] = (real, *behind)
    for path in candidates:
        facts = machine.files.stat(path)
        if facts is not None and facts.type == "file" and facts.mode & _SPECIAL:
            return path
    return None
