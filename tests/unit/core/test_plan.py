"""Plans as values, in words and as a document."""

import pytest

from shiftboss.core.plan import (
    Action,
    Conflict,
    CreateFile,
    MakeDirectory,
    Plan,
    RemoveFile,
    StartProcess,
    UpdateGroup,
    WriteFile,
    file_diff,
    merge,
)
from shiftboss.core.plan_text import plan_as_json, plan_lines

WRITE = WriteFile("shop/q", "/etc/q.conf", "a\nc\n", "a\nb\n")
CHANGE = UpdateGroup("shop/q", "shop_q", "change", 30, ("shop/q:1", "shop/q:2"))
REMOVE = UpdateGroup("shop/old", "shop_old", "remove", 30, ("shop/old:1",))
CONFLICT = Conflict("shop/q", "/etc/q.conf", "it was changed by hand", "Overwrite it.", "--force")


def test_merged_plans_keep_their_order_and_say_each_note_once() -> None:
    first = Plan((WRITE,), (CONFLICT,), ("note", "other"), ("shop/a",))
    second = Plan((CHANGE,), (), ("note",), ("shop/b",))

    assert merge([first, Plan(), second]) == Plan(
        (WRITE, CHANGE), (CONFLICT,), ("note", "other"), ("shop/a", "shop/b")
    )
    assert merge([]) == Plan()
    assert merge([Plan((WRITE,)), Plan((WRITE, CHANGE))]).actions == (WRITE, CHANGE)


def test_restarts_are_those_of_all_actions_once() -> None:
    plan = Plan((CHANGE, REMOVE, CHANGE, StartProcess("shop/x:1", "shop_x:shop_x", "supervisor")))

    assert plan.restarts == ("shop/old:1", "shop/q:1", "shop/q:2")


@pytest.mark.parametrize(
    ("action", "diff"),
    [
        (WRITE, "--- /etc/q.conf\n+++ /etc/q.conf\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
        (WriteFile("x", "/etc/x", "a\n", None), "--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+a\n"),
        (RemoveFile("x", "/etc/x", "a\n"), "--- /etc/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"),
        (WriteFile("x", "/etc/x", "a", "a\n"),
         "--- /etc/x\n+++ /etc/x\n@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n"),
        (WriteFile("x", "/etc/x", "same\n", "same\n"), ""),
        (CHANGE, ""),
        (MakeDirectory("x", "/x", 0, 0, 0o755), ""),
    ],
)  # fmt: skip
def test_the_diff_of_a_file_is_what_diff_u_prints(action: Action, diff: str) -> None:
    assert file_diff(action) == diff


def test_a_plan_is_told_in_words() -> None:
    plan = Plan(
        (
            MakeDirectory("shop", "/logs/shop", 0, 33, 0o2750),
            CreateFile("shop/q", "/logs/shop/q.log", 33, 33, 0o640),
            WRITE,
            WriteFile("shop/new", "/etc/new.conf", "x", None),
            RemoveFile("shop/old", "/etc/old.conf", "x"),
            CHANGE,
            REMOVE,
            UpdateGroup("shop/new", "shop_new", "add"),
            StartProcess("shop/dead:1", "shop_dead:shop_dead", "supervisor"),
        ),
        untouched=("shop/b", "other/q"),
    )

    assert plan_lines(plan) == (
        "create /logs/shop (mode 2750)",
        "create /logs/shop/q.log (mode 640)",
        "change /etc/q.conf",
        "create /etc/new.conf",
        "remove /etc/old.conf",
        "start shop/new",
        "start shop/dead:1",
        "stops: shop/old:1",
        "restarts: shop/q:1, shop/q:2",
        "untouched: shop/b, other/q",
    )


def test_nothing_to_change_is_said_unless_something_is_in_the_way() -> None:
    assert plan_lines(Plan(untouched=("shop/q",))) == ("nothing to change",)
    assert plan_lines(Plan(conflicts=(CONFLICT,))) == ()


def test_an_action_is_never_silent() -> None:
    """A group whose processes are all down changes nothing that runs, but it starts."""
    assert plan_lines(Plan((UpdateGroup("shop/q", "shop_q", "change"),))) == ("start shop/q",)
    assert plan_lines(Plan((UpdateGroup("shop/q", "shop_q", "remove"),))) == (
        "take shop/q out of Supervisor",
    )


def test_the_document_has_every_action_with_path_diff_and_restarts() -> None:
    document = plan_as_json(Plan((WRITE, CHANGE), (CONFLICT,), ("note",)))

    assert document["actions"] == [
        {
            "kind": "write-file",
            "target": "shop/q",
            "path": "/etc/q.conf",
            "diff": file_diff(WRITE),
            "restarts": [],
        },
        {
            "kind": "update-group",
            "target": "shop/q",
            "path": None,
            "diff": None,
            "restarts": ["shop/q:1", "shop/q:2"],
        },
    ]
    assert document["conflicts"] == [
        {
            "target": "shop/q",
            "path": "/etc/q.conf",
            "reason": "it was changed by hand",
            "hint": "Overwrite it.",
            "remedy": "--force",
        }
    ]
    assert document["notes"] == ["note"]
