"""Where the server's Supervisor is, from supervisord.conf files as they are found on servers."""

import hashlib
import platform
from pathlib import Path

import pytest

from shiftboss.core.errors import HostError, UserError
from shiftboss.core.spec import SupervisorSite
from shiftboss.host.supervisord import Supervisord, locate
from tests.supervisord import TemporarySupervisord, as_nobody

DEBIAN = """; supervisor config file
[unix_http_server]
file={here}/supervisor.sock   ; (the path to the socket file)
chmod=0700                       ; sockef file mode (default 0700)

[supervisord]
logfile=/var/log/supervisor/supervisord.log ; (main log file;default $CWD/supervisord.log)

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{here}/supervisor.sock ; use a unix:// URL  for a unix socket

[include]
files = {here}/conf.d/*.conf
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def located(here: Path, text: str, **site: str) -> SupervisorSite:
    """Locate by a supervisord.conf with this text; `site` is what config.toml says besides."""
    conf = here / "supervisord.conf"
    conf.write_text(text.replace("{here}", str(here)), encoding="utf-8")
    return locate(SupervisorSite(conf_file=str(conf), **site))


def refusal(here: Path, text: str, **site: str) -> str:
    with pytest.raises(HostError) as refused:
        located(here, text, **site)
    assert "\n" not in refused.value.message
    return f"{refused.value.message} | {refused.value.hint}"


def test_debians_own_file(here: Path) -> None:
    assert located(here, DEBIAN) == SupervisorSite(
        conf_file=f"{here}/supervisord.conf",
        conf_dir=f"{here}/conf.d",
        server=f"unix://{here}/supervisor.sock",
    )


def test_a_located_site_stays_as_it_is(here: Path) -> None:
    site = located(here, DEBIAN)
    assert locate(site) == site


def test_the_password_is_found_and_never_shown(here: Path) -> None:
    login = "username=admin\npassword=hunter2%%"
    site = located(here, DEBIAN.replace("chmod=0700", login, 1))
    assert (site.username, site.password) == ("admin", "hunter2%")
    assert "hunter2" not in repr(site)


def test_what_config_toml_says_holds(here: Path) -> None:
    own = {"server": "http://127.0.0.1:9001", "username": "me", "password": "mine"}
    site = located(here, DEBIAN, **own)
    assert (site.server, site.username, site.password) == tuple(own.values())
    assert site.conf_dir == f"{here}/conf.d"


def test_with_server_and_directory_given_no_file_is_looked_for(here: Path) -> None:
    site = SupervisorSite(conf_dir=f"{here}/conf.d", server=f"unix://{here}/x.sock")
    assert locate(site) == site


@pytest.mark.parametrize(
    ("port", "url"),
    [
        ("9001", "http://127.0.0.1:9001"),
        (":9001", "http://127.0.0.1:9001"),
        ("*:9001", "http://127.0.0.1:9001"),
        ("127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("10.0.0.7:9001", "http://10.0.0.7:9001"),
    ],
)
def test_a_tcp_server(here: Path, port: str, url: str) -> None:
    section = f"[inet_http_server]\nport={port}\nusername=a\npassword=b\n"
    include = "[include]\nfiles=conf.d/*.conf\n"
    site = located(here, section + include)
    assert (site.server, site.username, site.password) == (url, "a", "b")
    assert located(here, section + DEBIAN).server.startswith("unix://"), "a unix socket is preferred"
    assert located(here, section + DEBIAN, server=url).password == "b"


def test_expansions_are_those_of_supervisor(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SB_SECRET", "from the environment")
    text = (
        "[unix_http_server]\nfile=%(here)s/%(host_node_name)s.sock\nusername=a\npassword=%(ENV_SB_SECRET)s\n"
        "[include]\nfiles=%(here)s/other/*.ini %(here)s/conf.d/*.conf\n"
    )
    site = located(here, text)
    assert site.server == f"unix://{here}/{platform.node()}.sock"
    assert site.password == "from the environment"
    assert site.conf_dir == f"{here}/conf.d"


def test_an_expansion_that_we_cannot_know(here: Path) -> None:
    text = DEBIAN.replace("chmod=0700", "username=a\npassword=%(ENV_SB_NOT_SET)s", 1)
    assert "cannot read password of [unix_http_server]" in refusal(here, text)


def test_a_server_in_an_included_file(here: Path) -> None:
    (here / "conf.d" / "a-broken.conf").write_text("this is no INI file\n")
    (here / "conf.d" / "http.conf").write_text("[inet_http_server]\nport=9001\n")
    assert located(here, "[include]\nfiles=conf.d/*.conf\n").server == "http://127.0.0.1:9001"


def test_a_hashed_password_needs_the_plain_one(here: Path) -> None:
    hashed = "{SHA}" + hashlib.sha1(b"hunter2").hexdigest()
    text = DEBIAN.replace("chmod=0700", f"username=a\npassword={hashed}", 1)
    assert "only a hash of the password" in refusal(here, text)
    assert located(here, text, password="hunter2").password == "hunter2"
    plain = text.replace("[supervisorctl]", "[supervisorctl]\nusername=a\npassword=hunter2")
    assert located(here, plain).password == "hunter2"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[unix_http_server]", "[none]", "has no [unix_http_server]"),
        ("conf.d/*.conf", "conf.d/*.ini", "includes no *.conf of a directory"),
        ("[include]", "[none]", "includes no *.conf of a directory"),
        ("conf.d/*.conf", "gone.d/*.conf", "gone.d for Supervisor's programs: there is no such directory"),
        ("[supervisord]", "[supervisord]\nnothing", "is no supervisord.conf (ParsingError)"),
    ],
)
def test_a_file_that_does_not_tell(here: Path, old: str, new: str, message: str) -> None:
    assert message in refusal(here, DEBIAN.replace(old, new))


def test_a_directory_that_is_not_included_or_not_there(here: Path) -> None:
    (here / "elsewhere").mkdir()
    assert "does not name it" in refusal(here, DEBIAN, conf_dir=f"{here}/elsewhere")
    assert "there is no such directory" in refusal(here, DEBIAN, conf_dir=f"{here}/nowhere")
    (here / "link").symlink_to(here / "conf.d")
    assert located(here, DEBIAN, conf_dir=f"{here}/link/").conf_dir == f"{here}/link"
    with pytest.raises(HostError, match="no such directory"):
        locate(SupervisorSite(conf_dir=f"{here}/nowhere", server="unix:///x.sock"))


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="there is no such file") as refused:
        locate(SupervisorSite(conf_file=f"{tmp_path}/none.conf"))
    assert "apt-get install supervisor" in refused.value.hint
    with pytest.raises(HostError, match="cannot find Supervisor") as refused:
        locate(SupervisorSite(), usual_files=(f"{tmp_path}/none.conf",))
    assert "apt-get install supervisor" in refused.value.hint


def test_an_address_that_is_none(here: Path) -> None:
    with pytest.raises(UserError, match="cannot use that address"):
        located(here, DEBIAN, server="supervisor.sock")


def test_the_file_of_a_running_supervisor_leads_to_it(public_tmp: Path) -> None:
    with TemporarySupervisord(public_tmp, username="admin", password="s3cret") as daemon:
        site = locate(SupervisorSite(conf_file=str(daemon.conf_file)))
        assert site == daemon.site
        assert Supervisord(site).facts().processes == ()


@pytest.mark.needs_root
def test_a_file_without_rights(public_tmp: Path) -> None:
    conf = public_tmp / "supervisord.conf"
    conf.write_text(DEBIAN)
    conf.chmod(0o600)
    message = as_nobody(lambda: locate(SupervisorSite(conf_file=str(conf))))
    assert message == f"cannot read {conf}: permission denied | Run the command as root (sudo)."
