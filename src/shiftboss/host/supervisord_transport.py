"""XML-RPC over a unix socket or TCP with a login and a time limit. Imported only when a Supervisor is asked."""

import base64
import http.client
import socket
import xmlrpc.client
from urllib.parse import urlsplit

_UNIX = "unix://"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """One connection to one server. The login goes into a header, never into an address that errors show."""

    def __init__(self, url: str, username: str, password: str, timeout: float) -> None:
        login = base64.b64encode(f"{username}:{password}".encode()).decode()
        super().__init__(headers=[("Authorization", f"Basic {login}")] if username else [])
        self._url = url
        self._timeout = timeout

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        if self._url.startswith(_UNIX):
            connection: http.client.HTTPConnection = _UnixConnection(
                self._url.removeprefix(_UNIX), self._timeout
            )
        else:
            parts = urlsplit(self._url)
            connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port or 80, timeout=self._timeout
            )
        self._connection = ("", connection)  # what close() closes
        return connection


def server_proxy(url: str, username: str, password: str, timeout: float) -> xmlrpc.client.ServerProxy:
    """Return a proxy to use in a `with` block; `timeout` are the seconds that each read or write may take."""
    return xmlrpc.client.ServerProxy(
        "http://localhost/RPC2", transport=_Transport(url, username, password, timeout)
    )
