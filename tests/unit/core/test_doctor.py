"""The rules of `shiftboss doctor`: facts in, findings out."""

from typing import Any

import pytest
from msgspec.structs import replace

from shiftboss.core.doctor import Server, Tenant, account_findings
from shiftboss.core.doctor_doubles import double_findings
from shiftboss.core.doctor_paths import path_findings
from shiftboss.core.doctor_service import Services, service_findings
from shiftboss.core.facts import EngineFacts, GroupFacts, PathFacts
from shiftboss.core.spec import Account, Project, Worker

ROOT, LOGS = "/infra/projects/shop", "/infra/logs/projects/shop"
RELEASE = f"{ROOT}/releases/5"
UID = GID = 900
ENGINE = 53_970


def project(name: str = "shop", uid: int = UID, gid: int = GID, user: str = "") -> Project:
    user = user or f"{name}_user"
    root = f"/infra/projects/{name}"
    return Project(name, root, f"/infra/logs/projects/{name}", Account(user, uid, gid, user, root))


def server(*groups: GroupFacts, **more: Any) -> Server:
    return Server((GroupFacts("shop_user", GID, ("shop_user",)), *groups), ENGINE, **more)


def directory(uid: int = 0, gid: int = GID, mode: int = 0o750) -> PathFacts:
    return PathFacts(uid, gid, mode, "directory")


def file(mode: int, uid: int = UID, gid: int = GID) -> PathFacts:
    return PathFacts(uid, gid, mode, "file")


def codes(findings: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in findings]


def tidy(**entries: PathFacts) -> Tenant:
    """Return the project as `project add --create-user` leaves it, with more files in `shared`."""
    known = {
        ROOT: directory(),
        f"{ROOT}/releases": directory(),
        f"{ROOT}/shared": directory(UID, mode=0o2770),
    }
    known |= {f"{ROOT}/shared/{name.replace('_env', '.env')}": facts for name, facts in entries.items()}
    places = {ROOT: known[ROOT], LOGS: directory(mode=0o2750), "/infra": directory(0, 0, 0o755)}
    return Tenant(project(), places=places, entries=known, log_writer="root")


# Accounts


def test_a_tidy_project_has_no_findings() -> None:
    assert account_findings([tidy()], server()) == ()
    assert path_findings(tidy(_env=file(0o640)), server()) == ()


@pytest.mark.parametrize("group", ["sudo", "docker", "root", "shiftboss"])
def test_a_group_that_leads_to_root_is_a_problem(group: str) -> None:
    (found,) = account_findings([tidy()], server(GroupFacts(group, 27, ("shop_user",))))
    assert (found.level, found.code, found.mend) == (
        "problem",
        "powerful-group",
        f"gpasswd -d shop_user {group}",
    )


def test_a_group_that_was_left_and_is_still_written_down_is_a_problem() -> None:
    groups = (GroupFacts("docker", 27, ()),)
    left = replace(tidy(), written_groups=frozenset({GID, 27, 28}))
    (found,) = account_findings([left], server(*groups))
    assert (found.level, found.code, found.mend) == ("problem", "left-group", "shiftboss apply shop")
    assert "the group docker, gid 28, which shop_user has left" in found.message


def test_a_user_id_that_is_written_down_and_no_longer_the_users_is_a_problem() -> None:
    """useradd gives the number to the next one."""
    (found,) = account_findings([replace(tidy(), written_users=frozenset({UID, 899}))], server())
    assert (found.level, found.code, found.mend) == ("problem", "left-user", "shiftboss apply shop")
    assert "899" in found.message


@pytest.mark.parametrize(
    ("line", "grants"),
    [
        ("shop_user ALL=(ALL) NOPASSWD: ALL", True),
        ("  ann,shop_user web = /bin/systemctl", True),
        ("%shop_user ALL=(ALL) ALL", True),
        ("ALL ALL=(ALL) ALL", True),
        ("# shop_user ALL=(ALL) ALL", False),
        ("shop_user2 ALL=(ALL) ALL", False),
        ("Defaults env_reset", False),
        ("@includedir /etc/sudoers.d", False),
    ],
)
def test_a_line_of_sudoers_that_is_about_the_user_is_a_problem(line: str, grants: bool) -> None:
    found = account_findings([tidy()], server(sudoers={"/etc/sudoers.d/x": line}))
    assert codes(found) == ([("problem", "sudo")] if grants else [])


def test_root_and_a_missing_user_are_problems() -> None:
    root = Tenant(project(uid=0, gid=0, user="root"))
    assert codes(account_findings([root], server())) == [("problem", "user-is-root")]
    (found,) = account_findings([Tenant(project(), known=False)], server())
    assert found.mend == "shiftboss project add shop --create-user"
    assert path_findings(Tenant(project(), known=False), server()) == ()


def test_projects_that_share_a_user_or_a_group_are_told_once_for_each_pair() -> None:
    same_user = [Tenant(project("blog", user="www")), Tenant(project("shop", user="www"))]
    assert [(f.code, f.target) for f in account_findings(same_user, Server((), ENGINE))] == [
        ("shared-user", "shop")
    ]
    same_group = [Tenant(project("blog", uid=901)), Tenant(project("shop"))]
    groups = Server((GroupFacts("both", GID, ("blog_user", "shop_user")),), ENGINE)
    assert [(f.code, f.target) for f in account_findings(same_group, groups)] == [("shared-group", "shop")]
    assert account_findings(same_user, Server((), ENGINE, system=False)) == (), (
        "an ordinary user's are all the same"
    )


def test_who_else_is_in_the_group_of_a_project() -> None:
    members = ("alice", "blog_user", "shop_user", "www-data")
    everyone = [Tenant(project("blog", 901, 901)), tidy()]
    found = account_findings(everyone, Server((GroupFacts("shop_user", GID, members),), ENGINE))
    assert [(f.level, f.code, f.mend) for f in found] == [
        ("caution", "foreign-user", "gpasswd -d alice shop_user"),
        ("problem", "foreign-project-user", "gpasswd -d blog_user shop_user"),
        ("note", "web-user", ""),
    ]


# Paths


def open_root(tenant: Tenant) -> Tenant:
    """Let everybody enter the project's directory and `shared`."""
    opened = {
        p: replace(f, mode=f.mode | 0o005) if f.type == "directory" else f for p, f in tenant.entries.items()
    }
    return replace(tenant, entries=opened, places={**tenant.places, ROOT: opened[ROOT]})


def test_a_secret_that_everybody_may_read_is_mended_as_the_user_and_never_by_root() -> None:
    """Root would follow a link that the project puts there between the finding and its mend."""
    (found,) = path_findings(open_root(tidy(_env=file(0o644))), server())
    assert (found.level, found.code) == ("problem", "env-open")
    assert found.mend == f"runuser -u shop_user -- chmod o-rwx {ROOT}/shared/.env"
    (root_owned,) = path_findings(open_root(tidy(_env=file(0o644, uid=0))), server())
    assert root_owned.mend == f"find {ROOT}/shared/.env -maxdepth 0 -type f -exec chmod o-rwx {{}} +"


def test_where_a_link_of_the_project_could_lead_root_astray_there_is_no_mend() -> None:
    """`conf` may be a link to /etc: a mend for `conf/shadow` would open or break that one."""
    tenant, path = open_root(tidy()), f"{ROOT}/shared/conf/shadow"
    for facts, code in ((file(0o644, 0, 0), "env-open"), (file(0o640, 0, 42), "env-group")):
        seen = replace(tenant, env_files=frozenset({path}), entries={**tenant.entries, path: facts})
        (found,) = path_findings(seen, server())
        assert (found.code, found.mend) == (code, "")


def test_a_closed_directory_above_makes_an_open_secret_a_note() -> None:
    (found,) = path_findings(tidy(_env=file(0o644)), server())
    assert found.level == "note"
    assert f"only the mode of {ROOT}" in found.message


def test_a_secret_for_the_group_of_others_is_a_problem_and_for_the_web_server_a_note() -> None:
    groups = (GroupFacts("staff", 50, ()), GroupFacts("www-data", 33, ()))
    staff = path_findings(tidy(_env=file(0o640, gid=50)), server(*groups))
    web = path_findings(tidy(_env=file(0o640, gid=33)), server(*groups))
    assert (codes(staff), codes(web)) == ([("problem", "env-group")], [("note", "env-group")])


@pytest.mark.parametrize("name", [".env.production", ".env-live", ".env~", ".npmrc", "auth.json"])
def test_what_is_usually_a_secret_is_found_by_its_name(name: str) -> None:
    tenant = open_root(tidy())
    entries = {**tenant.entries, f"{ROOT}/shared/{name}": file(0o644)}
    assert codes(path_findings(replace(tenant, entries=entries), server())) == [("problem", "env-open")]


@pytest.mark.parametrize(("mode", "uid"), [(0o4755, 0), (0o2755, 0), (0o4711, UID)])
def test_a_program_that_lends_rights_is_a_problem(mode: int, uid: int) -> None:
    tenant, path = tidy(), f"{ROOT}/shared/tool"
    (found,) = path_findings(replace(tenant, entries={**tenant.entries, path: file(mode, uid)}), server())
    assert (found.level, found.code) == ("problem", "setuid")
    assert "chmod ug-s" in found.mend
    assert found.mend.startswith("runuser -u shop_user" if uid else f"find {path} -maxdepth 0 -type f")


def test_examples_and_links_are_no_secrets() -> None:
    link = PathFacts(UID, GID, 0o777, "link")
    tenant = open_root(tidy(_env=link, **{"_env.example": file(0o644), "_environment": file(0o644)}))
    assert path_findings(tenant, server()) == ()


def test_directories_that_others_may_write() -> None:
    tenant = tidy()
    places = {
        **tenant.places,
        ROOT: directory(mode=0o757),
        "/infra": directory(0, 50, 0o775),
        "/tmp": directory(0, 0, 0o1777),
    }
    found = path_findings(replace(tenant, places=places), server())
    assert [(f.code, f.mend) for f in found] == [
        ("open-directory", "chmod g-w /infra"),
        ("open-directory", f"chmod o-w {ROOT}"),
    ]


@pytest.mark.parametrize(
    ("writer", "facts", "expected"),
    [
        ("engine", directory(ENGINE, mode=0o2750), []),
        ("engine", directory(UID), [("problem", "logs-owner")]),
        ("root", directory(ENGINE, mode=0o2750), []),
        ("root", directory(UID), [("problem", "logs-owner")]),
        ("root", directory(mode=0o755), [("caution", "logs-open")]),
        ("root", directory(gid=0), [("caution", "logs-group")]),
        ("root", PathFacts(UID, GID, 0o777, "link"), [("problem", "logs-no-directory")]),
        ("", directory(UID), []),
    ],
)
def test_the_log_directory_must_suit_who_writes_there(
    writer: Any, facts: PathFacts, expected: list[Any]
) -> None:
    tenant = tidy()
    found = path_findings(replace(tenant, log_writer=writer, places={**tenant.places, LOGS: facts}), server())
    assert codes(found) == expected


def test_code_that_its_workers_may_change_is_one_caution() -> None:
    names = {"app": directory(UID), "artisan": file(0o755), "vendor": directory(UID), "public": directory(UID),
             "storage": directory(UID)}  # fmt: skip
    entries = {RELEASE: directory(UID), **{f"{RELEASE}/{name}": facts for name, facts in names.items()}}
    tenant = replace(tidy(), release=RELEASE, entries={**tidy().entries, **entries})
    (found,) = path_findings(tenant, server())
    assert (found.level, found.code) == ("caution", "code-writable")
    assert "and 2 more" in found.message
    assert "storage" not in found.message
    roots = {path: replace(facts, uid=0) for path, facts in tenant.entries.items()}
    assert path_findings(replace(tenant, entries=roots), server()) == ()


# What runs twice

WORKER = Worker(
    project(), "queue", "laravel-queue", "native", ("/usr/bin/php", "artisan", "queue:work", "--tries=3")
)
TICK = replace(WORKER, name="tick", argv=("/usr/bin/php", "artisan", "schedule:work"))


@pytest.mark.parametrize(
    ("line", "twice"),
    [
        (f"* * * * * shop_user cd {ROOT}/current && php artisan schedule:run >> /dev/null 2>&1", True),
        (f"* * * * * php {RELEASE}/artisan schedule:run", True),
        (f"* * * * * php -d x=1 {ROOT}/releases/../current/artisan schedule:run 'x", True),
        (f"# * * * * * php {ROOT}/current/artisan schedule:run", False),
        ("* * * * * cd /infra/projects/blog/current && php artisan schedule:run", False),
        (f"0 2 * * * php {ROOT}/current/artisan backup:run", False),
    ],
)
def test_lines_of_other_crontabs_that_run_the_same(line: str, twice: bool) -> None:
    found = double_findings(
        project(), (WORKER, TICK), RELEASE, {"/var/spool/cron/crontabs/ann": f"X=1\n{line}\n"}, {}
    )
    assert [f.mend for f in found] == (["crontab -e -u ann"] if twice else [])
    assert [f.message for f in found] == (
        ["line 2 of /var/spool/cron/crontabs/ann runs what shop/tick runs: it happens twice"] if twice else []
    )


def test_supervisor_programs_of_others_that_run_the_same() -> None:
    text = f"""\
[program:old]
command=php artisan queue:work --tries=1
directory={ROOT}/current
[program:other]
command=sh -c "cd /srv/blog && php artisan queue:work"
[group:x]
programs=old
"""
    found = double_findings(project(), (WORKER,), RELEASE, {}, {"/etc/supervisor/conf.d/old.conf": text})
    assert [f.message for f in found] == [
        "the program old in /etc/supervisor/conf.d/old.conf runs what shop/queue runs: it happens twice"
    ]


def test_two_schedulers_of_one_project_are_found() -> None:
    other = replace(TICK, name="scheduler", argv=("/usr/bin/php", "artisan", "schedule:run"))
    (found,) = double_findings(project(), (TICK, other), "", {}, {})
    assert found.mend == "shiftboss remove shop/scheduler"


# Services


def test_an_engine_that_is_used_must_run_in_the_version_that_is_installed() -> None:
    seen = Services(frozenset({"native"}), "/run/x/api.sock", "2.0", has_systemd=True)
    (down,) = service_findings(seen)
    assert (down.code, down.mend) == ("engine-down", "shiftboss service install")
    running = replace(seen, engine=EngineFacts("1.0", troubles=("the disk is full",)))
    assert [f.code for f in service_findings(running)] == ["engine-trouble", "version"]
    assert service_findings(replace(seen, engine=EngineFacts("2.0"))) == ()
    assert service_findings(replace(seen, used=frozenset())) == (), "what nobody uses need not run"


def test_other_services_and_our_own_files() -> None:
    own = {"/etc/x.toml": PathFacts(0, 0, 0o644, "file"), "/etc/p": PathFacts(0, 50, 0o775, "directory"),
           "/etc/q": PathFacts(7, 0, 0o755, "directory")}  # fmt: skip
    seen = Services(frozenset({"cron"}), "/s", "1", down={"cron": "no cron"}, at_boot={"cron": False}, own=own,
                    secrets={"/etc/x.toml": "a password"})  # fmt: skip
    assert [f.code for f in service_findings(seen)] == [
        "cron-down",
        "not-at-boot",
        "own-open",
        "own-owner",
        "own-secret",
    ]
