"""Who may do what: every kind of caller against every kind of call, and what nobody may learn."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftboss.api.calls import CALLS
from shiftboss.core import access
from shiftboss.core.access import Access, Caller, Projects, Rights, allowed, level, narrowed, projects_of
from shiftboss.core.errors import DeniedError, UserError
from shiftboss.core.wire.entry import Entry, Grants, Policy

SHOP = Rights(
    1001, Grants(operators=(2001,), operator_groups=(3001,), viewers=(2002,), viewer_groups=(3002,))
)
BLOG = Rights(1002)
RIGHTS = {"shop": SHOP, "blog": BLOG}
ROOT = Caller(0, frozenset({0}), is_admin=True)
CALLERS = {
    "root": ROOT,
    "member of the group shiftboss": Caller(4000, frozenset({4000}), is_admin=True),
    "project user": Caller(1001, frozenset({1001})),
    "operator": Caller(2001, frozenset({2001})),
    "operator by group": Caller(2009, frozenset({2009, 3001})),
    "viewer": Caller(2002, frozenset({2002})),
    "viewer by group": Caller(2010, frozenset({2010, 3002})),
    "user of another project": Caller(1002, frozenset({1002})),
    "stranger": Caller(5000, frozenset({5000, 100})),
}
MAY = {
    "root": {"anyone", "read", "operate", "admin"},
    "member of the group shiftboss": {"anyone", "read", "operate", "admin"},
    "project user": {"anyone", "read", "operate"},
    "operator": {"anyone", "read", "operate"},
    "operator by group": {"anyone", "read", "operate"},
    "viewer": {"anyone", "read"},
    "viewer by group": {"anyone", "read"},
    "user of another project": set(),
    "stranger": set(),
}
ACCESS: tuple[Access, ...] = ("anyone", "read", "operate", "admin")


def entry(address: str, uid: int, grants: Grants = Grants()) -> Entry:  # noqa: B008 -- frozen
    fields = {"home": "/", "directory": "/", "current": "/", "revision": ""}
    return Entry(address, ("true",), "u", uid, uid, **fields, policy=Policy(grants=grants))


PROJECTS = projects_of([entry("shop/queue", 1001, SHOP.grants), entry("blog/queue", 1002)])


@pytest.mark.parametrize(("who", "need"), list(itertools.product(CALLERS, ACCESS)))
def test_the_whole_table_of_callers_and_needs(who: str, need: Access) -> None:
    assert allowed(CALLERS[who], need, SHOP) == (need in MAY[who])


@pytest.mark.parametrize("need", ACCESS)
def test_what_does_not_exist_is_nobodys_but_an_administrators(need: Access) -> None:
    for who, caller in CALLERS.items():
        assert allowed(caller, need, None) == caller.is_admin, who


def test_an_operator_who_is_a_viewer_too_is_an_operator() -> None:
    assert level(Caller(7), Rights(1, Grants(operators=(7,), viewers=(7,)))) == "operate"
    assert (
        level(Caller(8, frozenset({9})), Rights(1, Grants(operator_groups=(9,), viewers=(8,)))) == "operate"
    )


def test_a_number_is_a_user_or_a_group_never_both() -> None:
    """The uid 3001 is nobody, though the group 3001 operates the project."""
    assert level(Caller(3001, frozenset({50})), SHOP) == "none"
    assert level(Caller(50, frozenset({2001, 1001, 2002})), SHOP) == "none"


def test_the_rights_of_a_project_come_from_its_entries() -> None:
    assert dict(PROJECTS.rights) == RIGHTS
    assert PROJECTS.users == {1001, 1002, 2001, 2002}
    assert PROJECTS.groups == {3001, 3002}


@pytest.mark.parametrize("who", CALLERS)
def test_a_stranger_is_who_may_look_at_nothing(who: str) -> None:
    assert access.is_stranger(CALLERS[who], PROJECTS) == (who == "stranger")
    assert access.is_stranger(CALLERS[who], Projects()) == (not CALLERS[who].is_admin)


def test_an_administrator_is_asked_nothing() -> None:
    for targets in ((), ("shop",), ("no/such",), ("not a target!",)):
        assert narrowed(ROOT, "admin", targets, PROJECTS) == targets


def test_who_names_nothing_means_everything_that_is_theirs_for_this_call() -> None:
    both = Caller(2002, frozenset({77}))
    projects = projects_of(
        [
            entry("shop/q", 1001, SHOP.grants),
            entry("blog/q", 1002, Grants(operators=(2002,))),
            entry("x/q", 9),
        ]
    )
    assert narrowed(both, "read", (), projects) == ("blog", "shop")
    assert narrowed(both, "operate", (), projects) == ("blog",)


def test_a_viewer_who_wants_to_control_is_told_so() -> None:
    for targets in ((), ("shop",), ("shop/queue:1",)):
        with pytest.raises(DeniedError, match="permission denied"):
            narrowed(CALLERS["viewer"], "operate", targets, PROJECTS)


def test_what_is_about_the_server_is_denied_to_all_but_administrators() -> None:
    for who in ("project user", "operator", "viewer", "stranger"):
        with pytest.raises(DeniedError, match="whole server"):
            narrowed(CALLERS[who], "admin", (), PROJECTS)


@pytest.mark.parametrize("need", ["read", "operate"])
@pytest.mark.parametrize("form", ["{}", "{}/queue", "{}/queue:1"])
def test_a_project_of_others_and_one_that_does_not_exist_cannot_be_told_apart(
    need: Access, form: str
) -> None:
    said = []
    for name in ("shop", "sh0p"):
        with pytest.raises(UserError) as caught:
            narrowed(CALLERS["user of another project"], need, (form.format(name),), PROJECTS)
        said.append((caught.value.message.replace(name, "NAME"), caught.value.hint))
    assert said[0] == said[1]
    assert "did you mean" not in said[0][0]


def test_one_target_that_is_not_theirs_refuses_the_whole_request() -> None:
    with pytest.raises(UserError):
        narrowed(CALLERS["operator"], "operate", ("shop/queue", "blog/queue"), PROJECTS)


def test_a_mistyped_name_is_suggested_from_what_one_may_see() -> None:
    with pytest.raises(UserError, match="did you mean 'shop'"):
        narrowed(CALLERS["viewer"], "read", ("shpo",), PROJECTS)
    with pytest.raises(UserError) as caught:
        narrowed(CALLERS["viewer"], "read", ("blgo",), PROJECTS)
    assert "blog" not in caught.value.message


def test_the_backend_itself_is_heard_of_by_administrators_only() -> None:
    for who, caller in CALLERS.items():
        assert access.may_read(caller, "", PROJECTS) == caller.is_admin, who
        assert access.may_read(caller, "shop/queue", PROJECTS) == ("read" in MAY[who]), who


ids = st.integers(1, 6)
groups = st.frozensets(ids, max_size=3)
some = st.lists(ids, max_size=3).map(tuple)
grants = st.builds(Grants, some, some, some, some)
callers = st.builds(Caller, ids, groups, st.just(value=False))
servers = st.dictionaries(st.sampled_from("abcde"), st.builds(Rights, ids, grants), max_size=5)


@given(callers, servers, st.sampled_from(["read", "operate"]))
def test_nothing_that_is_not_allowed_ever_comes_out(
    caller: Caller, rights: dict[str, Rights], need: Access
) -> None:
    projects = projects_of(entry(f"{name}/q", found.user, found.grants) for name, found in rights.items())
    try:
        chosen = narrowed(caller, need, (), projects)
    except DeniedError:
        chosen = ()
    assert chosen == tuple(sorted(name for name in rights if allowed(caller, need, rights[name])))
    may_look = [name for name in rights if access.may_read(caller, name, projects)]
    assert access.is_stranger(caller, projects) == (not may_look)


@given(callers, grants, ids)
def test_who_controls_may_look_and_more_grants_never_take_away(
    caller: Caller, found: Grants, user: int
) -> None:
    rights = Rights(user, found)
    if allowed(caller, "operate", rights):
        assert allowed(caller, "read", rights)
    more = Rights(user, found._replace(operators=(*found.operators, caller.uid)))
    assert allowed(caller, "operate", more)


def test_each_call_that_is_about_projects_can_be_narrowed() -> None:
    """What is not for anyone or for administrators names its targets, or could not be checked."""
    for name, call in CALLS.items():
        fields = set(call.args.__struct_fields__)
        if call.access in ("read", "operate"):
            assert fields & {"targets", "target"}, name
        elif call.access == "anyone":
            assert not fields & {"targets", "target"}, name
