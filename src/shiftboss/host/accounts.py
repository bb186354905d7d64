"""Unix accounts, and acting with the rights of one of them."""

import contextlib
import functools
import grp
import os
import pwd
from collections.abc import Iterator

from shiftboss.core.errors import HostError
from shiftboss.core.facts import EngineAccount, GroupFacts
from shiftboss.core.spec import Account
from shiftboss.host.engine_account import engine_identity


class RealAccounts:
    """The `Accounts` port on this machine."""

    def by_name(self, name: str) -> Account | None:
        try:
            return _account(pwd.getpwnam(name))
        except (KeyError, ValueError):
            return None

    def group(self, name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            return None

    def create(self, name: str, home: str) -> Account:
        from shiftboss.host.account_creation import create_account

        create_account(name, home)
        _groups.cache_clear()
        created = self.by_name(name)
        if created is None:
            raise HostError(
                f"cannot find the user {name} that was just created",
                hint="See how users are looked up here: the line passwd in /etc/nsswitch.conf.",
            )
        return created

    def all_groups(self) -> tuple[GroupFacts, ...]:
        primary: dict[int, list[str]] = {}
        for user in pwd.getpwall():
            primary.setdefault(user.pw_gid, []).append(user.pw_name)
        found = [
            GroupFacts(g.gr_name, g.gr_gid, tuple(sorted({*g.gr_mem, *primary.get(g.gr_gid, ())})))
            for g in grp.getgrall()
        ]
        return tuple(sorted(found, key=lambda group: group.name))

    def own(self) -> Account:
        uid = os.geteuid()
        try:
            return _account(pwd.getpwuid(uid))
        except KeyError:  # a container that runs with a bare numeric uid
            gid = os.getegid()
            return Account(str(uid), uid, gid, str(gid), os.environ.get("HOME", "/"))

    def engine(self) -> EngineAccount:
        own = self.own()
        if own.uid != 0:
            return EngineAccount(own.uid, own.gid)
        try:
            return EngineAccount(*engine_identity())
        except LookupError as error:
            raise HostError(
                f"cannot run the native engine: {error}", hint="Make the account: shiftboss service install"
            ) from None


def _account(entry: pwd.struct_passwd) -> Account:
    try:
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        group = str(entry.pw_gid)
    groups = _groups(entry.pw_name, entry.pw_gid)
    shell = entry.pw_shell or "/bin/sh"
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, group, entry.pw_dir, shell, groups)


@functools.lru_cache(maxsize=1024)  # reads all of /etc/group
def _groups(name: str, gid: int) -> tuple[int, ...]:
    return tuple(os.getgrouplist(name, gid))


def groups_of(account: Account) -> tuple[int, ...]:
    """Return the ids of all groups of an account."""
    return account.groups or _groups(account.name, account.gid)


@contextlib.contextmanager
def acting_as(account: Account) -> Iterator[None]:
    """Do what is inside with the file rights of `account` and no more, if we are root; else as we are.

    Changes the effective ids of the whole process, so only for a program with one thread.
    """
    if os.geteuid() != 0 or account.uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        os.setgroups(groups_of(account))
        os.setegid(account.gid)
        os.seteuid(account.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
