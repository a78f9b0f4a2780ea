"""Pictures by address: public http(s) servers only, whatever a name resolves to and wherever a redirect leads.

A host is resolved once, its addresses are checked, and the connection goes to a checked address, while the Host header
and the TLS certificate keep to the name. So a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from .problems import Problem

_MAX_REDIRECTS = 3
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is a public unicast one.

    Private, loopback, link-local, shared (100.64.0.0/10), multicast, reserved and unspecified ones are not, nor are
    IPv6 addresses that stand for an IPv4 address (mapped, 6to4, Teredo, NAT64), whichever it is.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and (
        ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip in _NAT64 or ip.is_site_local
    ):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class Fetcher:
    """Fetches pictures by http and https."""

    def __init__(
        self,
        *,
        max_bytes: int,
        seconds: float = 10.0,
        allowed: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare.

        Args:
            max_bytes: of one picture.
            seconds: for everything from resolving to the last byte, redirects included.
            allowed: which IP addresses may be connected to.
            tls: the certificates to trust; None = the system's.
        """
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._network = _CheckedNetwork(allowed)
        self._tls = tls or ssl.create_default_context()

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an address.

        Raises:
            Problem: "url_refused", in one sentence: not http(s), not public, too large, too slow, or not there.
        """
        try:
            async with asyncio.timeout(self._seconds):
                for _ in range(_MAX_REDIRECTS + 1):
                    answer = await self._get(url)
                    if isinstance(answer, bytes):
                        return answer
                    url = answer
                raise _refused(f"it redirects more than {_MAX_REDIRECTS} times")
        except TimeoutError:
            raise _refused(f"it did not arrive within {self._seconds:g} seconds") from None
        except httpcore.TimeoutException:
            raise _refused("its server is too slow") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            raise _refused(f"its server cannot be reached ({type(error).__name__})") from error

    async def _get(self, url: str) -> bytes | str:
        """The body, or where a redirect leads."""
        _check(url)
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._tls, network_backend=self._network, http2=False, retries=0
        ) as pool:
            headers = [("Host", urlsplit(url).netloc), ("Accept", "image/*"), ("Accept-Encoding", "identity")]
            timeouts = {"connect": self._seconds, "read": self._seconds, "write": self._seconds, "pool": self._seconds}
            async with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
                named = {name.lower(): value for name, value in response.headers}
                if response.status in (301, 302, 303, 307, 308):
                    return urljoin(url, named.get(b"location", b"").decode("latin-1"))
                if response.status != 200:
                    raise _refused(f"its server answered {response.status}")
                return await self._body(response, named.get(b"content-length", b""))

    async def _body(self, response: httpcore.Response, declared: bytes) -> bytes:
        too_large = _refused(f"it is larger than the limit of {self._max_bytes} bytes")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise too_large
        body = bytearray()
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > self._max_bytes:
                raise too_large
        return bytes(body)


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to names whose addresses are all allowed."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _refused("its server's name cannot be resolved") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses or not all(self._allowed(address) for address in addresses):
            raise _refused("its server is not on the public internet")
        return await self._network.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise _refused("it is no network address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _refused("it is no valid URL") from None
    if parts.scheme not in ("http", "https"):
        raise _refused("only http and https addresses are fetched")
    if not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise _refused("it is no valid URL")
    if parts.username is not None or parts.password is not None:
        raise _refused("it must hold no user name or password")


def _refused(reason: str) -> Problem:
    return Problem("url_refused", f"the picture's URL is refused: {reason}")
