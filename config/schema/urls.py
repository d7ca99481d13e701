"""Kinds of URLs: of a web service, a broker, a ledger, a syslog. Each is checked by what it means, as in `values`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from pydantic import AfterValidator

from config.schema.values import host

# What the drivers take after the ? of an address, and the values that they can read.
SWITCH, WHOLE, DECIMAL, PLACE = "true|false|yes|no|1|0", "[0-9]{1,9}", r"[0-9]{1,9}(\.[0-9]{1,9})?", ".+"
BROKER_QUERY = {
    "ssl_cert_reqs": "(CERT_)?(none|optional|required)",
    "ssl_ca_certs": PLACE,
    "ssl_certfile": PLACE,
    "ssl_keyfile": PLACE,
    "ssl_check_hostname": SWITCH,
    "virtual_host": WHOLE,
    "db": WHOLE,
    "socket_timeout": DECIMAL,
    "socket_connect_timeout": DECIMAL,
    "socket_keepalive": SWITCH,
    "retry_on_timeout": SWITCH,
    "health_check_interval": WHOLE,
    "max_connections": WHOLE,
    "protocol": "[23]",
}
LEDGER_QUERY = {"unix_sock": PLACE, "application_name": PLACE}


def _split(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    """A URL with one of these schemes, a port that can be one, and no blanks."""
    allowed = " or ".join(f"{scheme}://" for scheme in schemes)
    wrong = f'a URL that begins with {allowed} is needed, as in "{example}"'
    try:
        parts = urlsplit(text)
        number = parts.port
        name = parts.hostname
    except ValueError:
        raise ValueError(f"host or port of the URL cannot be read; {wrong}") from None
    if parts.scheme not in schemes or re.search(r"\s", text) or "://" not in text:
        raise ValueError(wrong)
    if number == 0:
        raise ValueError("the port of a URL lies between 1 and 65535")
    if name:
        host(name)
    return parts


def web_url(text: str) -> str:
    parts = _split(text, ("http", "https"), "https://pacs.example.org/dicom-web")
    if not parts.hostname:
        raise ValueError('the URL names no host; it is one like "https://pacs.example.org/dicom-web"')
    if parts.fragment:
        raise ValueError("the URL must not have a part after #")
    return text


def base_url(text: str) -> str:
    """A URL that paths are added to."""
    if urlsplit(web_url(text)).query:
        raise ValueError("paths are added to the URL: it must not have a part after ?")
    return text


def remote_url(text: str) -> str:
    parts = urlsplit(base_url(text))
    if parts.path not in ("", "/") or "@" in parts.netloc:
        raise ValueError('scheme, host and port alone are needed, as in "https://intake:11190"')
    return text


def broker_url(text: str) -> str:
    parts = _split(text, ("redis", "rediss", "redis+socket", "unix"), "redis://queue.example.org:6379/0")
    if parts.scheme in ("redis+socket", "unix"):
        if not parts.path.strip("/"):
            raise ValueError('the URL names no socket; it is one like "redis+socket:///run/redis.sock"')
    elif not parts.hostname:
        raise ValueError('the URL names no host; it is one like "redis://queue.example.org:6379/0"')
    elif not re.fullmatch(r"/?|/[0-9]+", parts.path):
        raise ValueError('after the host stands the number of the database, as in "redis://queue.example.org:6379/0"')
    _query(parts, BROKER_QUERY)
    return text


def ledger_url(text: str) -> str:
    example = "postgresql://axrad@db.example.org/axrad"
    parts = _split(text, ("postgresql", "postgresql+pg8000", "sqlite"), example)
    if parts.scheme == "sqlite":
        if parts.netloc or (parts.path and not parts.path.strip("/")):
            raise ValueError('a SQLite file has three slashes and its path: "sqlite:////var/lib/axrad/ledger.sqlite"')
    elif not parts.hostname and "unix_sock=" not in parts.query:
        raise ValueError(f'the URL names no host; it is one like "{example}"')
    elif not parts.path.strip("/"):
        raise ValueError(f'the URL names no database; it is one like "{example}"')
    else:
        _query(parts, LEDGER_QUERY)
    return text


def with_password(table: object) -> object:
    """A section whose `url` has the `password` that stands beside it, so that nothing else needs to know of it."""
    if not isinstance(table, dict) or not isinstance(password := table.get("password"), str):
        return table
    url = table.get("url")
    if not isinstance(url, str):
        raise ValueError("password belongs into a url, which is not given")
    try:
        parts = urlsplit(url)
        known = parts.password
    except ValueError:
        return table  # the check of the URL says what is wrong with it
    if known is not None and unquote(known) != password:
        raise ValueError("url has a password, and another is given beside it")
    user, _, where = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:{quote(password, safe='')}@{where}"
    return {**table, "url": parts._replace(netloc=netloc).geturl()}


def _query(parts: SplitResult, allowed: Mapping[str, str]) -> None:
    """What stands after ? in the address of a database goes to its driver, which fails at what it does not know."""
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in allowed:
            raise ValueError(f"after ? only {', '.join(sorted(allowed))} may stand in the URL")
        if not re.fullmatch(allowed[key], value, re.IGNORECASE):
            raise ValueError(f"the value of {key} after ? in the URL is none that it may have")


def syslog(text: str) -> str:
    if text.startswith("/") and len(text) > 1:
        return text
    parts = _split(text, ("udp", "tcp", "tls"), "udp://log.example.org:514")
    if not parts.hostname or parts.port is None or parts.path.strip("/"):
        raise ValueError('a socket as in "/dev/log", or host and port as in "udp://log.example.org:514" are needed')
    return text


WebUrl = Annotated[str, AfterValidator(web_url)]
BaseUrl = Annotated[str, AfterValidator(base_url)]
RemoteUrl = Annotated[str, AfterValidator(remote_url)]
BrokerUrl = Annotated[str, AfterValidator(broker_url)]
LedgerUrl = Annotated[str, AfterValidator(ledger_url)]
Syslog = Annotated[str, AfterValidator(syslog)]
