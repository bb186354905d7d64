"""As whom the engine runs when the keeper is root: never as root."""

import grp
import pwd
from typing import NamedTuple

ACCOUNT = "shiftboss"
# Without that account: the first of these that no account has. Far from what useradd(8), Debian's policy (60000
# and above) and systemd (61184 and above) hand out, and always the same, so that files keep their owner.
_NUMBERS = range(53_970, 53_990)


class Identity(NamedTuple):
    """A user and its primary group, by number."""

    uid: int
    gid: int


def engine_identity() -> Identity:
    """Return whom the engine becomes: the account `shiftboss` if there is one, else a fixed free number.

    Raises LookupError if the account is root's, or if every one of those numbers belongs to somebody.
    """
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return _free_number()
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise LookupError(f"the account {ACCOUNT} is root's: the engine must not be root")
    return Identity(entry.pw_uid, entry.pw_gid)


def _free_number() -> Identity:
    for number in _NUMBERS:
        if not _is_taken(number):
            return Identity(number, number)
    raise LookupError(f"no account {ACCOUNT}, and the numbers {_NUMBERS[0]} to {_NUMBERS[-1]} are all taken")


def _is_taken(number: int) -> bool:
    for lookup in (pwd.getpwuid, grp.getgrgid):
        try:
            lookup(number)
        except KeyError:
            continue
        return True
    return False
