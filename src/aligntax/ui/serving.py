"""Serving the labelling page: an address, personal links, and a server that runs until Ctrl-C."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import urllib.parse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import uvicorn

from ..errors import InputError
from .guard import LOOPBACK, host_name
from .server import build

if TYPE_CHECKING:
    from ..store import Store


def run(  # noqa: PLR0913 - each is one fact of the address
    store: Store,
    draw_id: str,
    *,
    host: str,
    port: int,
    annotators: Sequence[str],
    adjudicators: Sequence[str],
    announce: Callable[[str], object],
    public_url: str | None,
    certificate: str | None,
    certificate_key: str | None,
) -> None:
    """What `ui.serve` does."""
    public = _public_address(public_url)
    secure = public is not None or certificate is not None
    if not secure and not _is_loopback(host):
        raise InputError(
            "labels and the text of your logs would cross the network unencrypted",
            where=f"host {host}",
            remedy="put a proxy with TLS before it and give its address as --public-url, or leave the host away",
        )
    listening = _listen(host, port)
    with listening:
        hosts = [host, *([urllib.parse.urlsplit(public).netloc] if public else [])]
        application = build(store, draw_id, secure=secure, hosts=hosts)
        config = uvicorn.Config(
            application,
            access_log=False,  # its lines would hold the tokens of the links
            log_level="warning",
            server_header=False,
            proxy_headers=False,  # the guard compares what the browser sent with what it was sent to
            lifespan="off",
            ws="none",
            limit_concurrency=500,
            timeout_graceful_shutdown=5,
            ssl_certfile=certificate,
            ssl_keyfile=certificate_key,
        )
        config.load()  # a bad certificate is an error before the links are made
        base = public or _address(host, listening.getsockname()[1], secure=secure)
        for line in _links(store, draw_id, base, annotators, adjudicators):
            announce(line)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def _links(
    store: Store, draw_id: str, base: str, annotators: Sequence[str], adjudicators: Sequence[str]
) -> list[str]:
    """One line a person. Each link is a key: it is shown here and kept nowhere."""
    people = [(name, "annotator") for name in annotators] + [(name, "adjudicator") for name in adjudicators]
    names = [name.strip() for name, _ in people]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(
            "the same name twice",
            where=f"annotator {twice}",
            remedy="a name and a role each, such as A and A-settles",
        )
    if not people:
        return _former_links(store, draw_id, base)
    width = max(len(name) for name in names)
    lines = [
        f"{name:<{width}}  {role:<11}  {base}/a/{store.add_annotator(draw_id, name, role=role)}"
        for name, (_, role) in zip(names, people, strict=True)
    ]
    return [*lines, "Each link is personal: whoever has it labels in that name. Ctrl-C ends."]


def _former_links(store: Store, draw_id: str, base: str) -> list[str]:
    """One line a person who was given a link before: it still works, and cannot be shown again."""
    former = [person for person in store.annotators(draw_id) if person.linked]
    if not former:
        raise InputError("nobody would get a link", remedy="name who labels or settles")
    width = max(len(person.name) for person in former)
    lines = [f"{person.name:<{width}}  {person.role:<11}  the link given before" for person in former]
    return [*lines, f"Where a browser has used its link: {base}/  Ctrl-C ends."]


def _public_address(url: str | None) -> str | None:
    """The address without a slash at its end. Raises InputError where it is not one for a proxy with TLS."""
    if url is None:
        return None
    parts = urllib.parse.urlsplit(url)
    if (
        parts.scheme != "https"
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.username
    ):
        raise InputError(
            "is not an address of its own with TLS",
            where="--public-url",
            remedy="https://labels.example.org, without a path",
        )
    return f"https://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    if host_name(host) in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host_name(host)).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """A socket that takes calls already, so that a link that was announced works."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host_name(host), port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(256)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise InputError(
            f"cannot listen ({error.strerror})",
            where=f"{host}:{port}",
            remedy="choose another --port; 0 takes a free one",
        ) from None
    return listening


def _address(host: str, port: int, *, secure: bool) -> str:
    name = host_name(host)
    shown = f"[{name}]" if ":" in name else name
    return f"{'https' if secure else 'http'}://{shown}:{port}"
