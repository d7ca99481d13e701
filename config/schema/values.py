"""Kinds of values, each checked by what it means: an AE title, a host, a URL, a UID root, a time zone, a network.

A value is checked wherever a section is made, also in code. Nothing here looks at the machine: whether a file is there
is asked by `config.load` alone. Messages name what is allowed and do not repeat the value, which may be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

# Digits of a derived UID that make it unique beyond doubt (about 90 bits), and the dot before them: PS3.5 allows 64.
MOST_OF_A_ROOT = 64 - 28
DICOM_ROOT = "1.2.840.10008"
MAPPED_IPV4 = IPv6Network("::ffff:0:0/96")
UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
NAME_OF_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
EMAIL = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")

RIGHTS = ("store", "retrieve", "echo", "commit", "report-commitment", "feedback", "find")

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


def ae_title(text: str) -> str:
    """PS3.5 6.2: the spaces around it mean nothing."""
    title = text.strip(" ")
    if not title or len(title) > 16 or "\\" in title or not all(" " <= c <= "~" for c in title):
        raise ValueError("an AE title has 1 to 16 characters of ASCII, not only spaces, and no backslash")
    return title


def time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # a path, a folder of zones, a name that there is not
        near = difflib.get_close_matches(text, sorted(available_timezones()), n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'there is no time zone of this name; it is one like "Europe/Berlin" or "UTC"{hint}') from None
    return text


def uid(text: str) -> str:
    if len(text) > 64 or not UID.fullmatch(text):
        raise ValueError("a UID has at most 64 characters: numbers without leading zeros, with dots between them")
    return text


def uid_root(text: str) -> str:
    """Under any root but 2.25 what follows is made of digits of ours, and what does not fit is cut off."""
    arcs = text.split(".")
    if not UID.fullmatch(text) or (arcs[0] in "01" and int(arcs[1]) > 39):
        raise ValueError('a UID root is numbers without leading zeros, with dots between them, as in "1.2.826.0.1"')
    if len(text) > MOST_OF_A_ROOT:
        raise ValueError(f"a UID root has at most {MOST_OF_A_ROOT} characters: UIDs under a longer one are not unique")
    if f"{text}.".startswith(f"{DICOM_ROOT}."):
        raise ValueError(f'{DICOM_ROOT} is the root of DICOM itself: take one of your own, or "2.25"')
    return text


def host(text: str) -> str:
    """A name or an address, without scheme, port or path."""
    alone = 'a host is a name or an IP address alone, as in "pacs.example.org" or "10.1.0.5"'
    if re.fullmatch(r"[0-9.]+", text) or ":" in text:
        try:
            ip_address(text.partition("%")[0])
        except ValueError:
            raise ValueError(f"not an IP address; {alone}, and the port has a key of its own") from None
        return text
    if not NAME_OF_HOST.fullmatch(text):
        raise ValueError(alone)
    return text


def own_host(text: str) -> str:
    """An address of this machine; nothing at all means every one."""
    return host(text) if text else text


def reporter(text: str) -> str:
    """Who may report for a destination: an AE title or a host."""
    for kind in (ae_title, host):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ValueError("an AE title (1 to 16 characters of ASCII, no backslash) or a host is needed")


def right(text: str) -> str:
    """What a peer may do; `store:` and a modality: store that modality alone."""
    if text in RIGHTS or re.fullmatch(r"store:[A-Z0-9_]{1,16}", text):
        return text
    near = difflib.get_close_matches(text, RIGHTS, n=1, cutoff=0.5)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise ValueError(f'a right is one of {", ".join(RIGHTS)}, or store and a modality as in "store:SEG"{hint}')


def certificate(text: str) -> str:
    """A name in a certificate as it is compared, or `sha256:` and its digest in lower case without colons."""
    kind, _, value = text.partition(":")
    if kind.lower() == "sha256":
        digest = value.replace(":", "").lower()
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError('after "sha256:" stand the 64 hexadecimal digits of the certificate\'s SHA-256')
        return f"sha256:{digest}"
    if not text or text != text.strip() or not text.isprintable() or "*" in text:
        raise ValueError('a name in the certificate as in "mr1.example.org", without *, or "sha256:…" is needed')
    return text


def name(text: str) -> str:
    if not text or len(text) > 64 or text != text.strip():
        raise ValueError("a name has 1 to 64 characters, and no blanks at its ends")
    return text


def long_string(text: str) -> str:
    """DICOM's LO (PS3.5 6.2): the text goes into every report."""
    if len(text) > 64 or "\\" in text:
        raise ValueError("the text stands in every report: at most 64 characters and no backslash")
    return text


def email(text: str) -> str:
    if not EMAIL.fullmatch(text):
        raise ValueError('an e-mail address is needed, as in "radiology@example.org"')
    return text


def hours(text: str) -> str:
    if not HOURS.fullmatch(text):
        raise ValueError('hours are written as in "22:00-06:00"')
    return text


def network(value: object) -> object:
    """Host bits are a slip of which two readings are possible; the likelier one is told.

    Addresses of IPv4 that are written as IPv6 (RFC 4291 2.5.5.2) become what they are: so callers are compared.
    """
    if not isinstance(value, str):
        if isinstance(value, int | float):
            raise ValueError('a network is written as in "10.1.0.0/16", one address as in "10.1.0.5"')
        return value
    try:
        chosen = ip_network(value)
    except ValueError:
        pass
    else:
        of_ipv4 = isinstance(chosen, IPv6Network) and chosen.subnet_of(MAPPED_IPV4)
        return ip_network((chosen[0].packed[12:], chosen.prefixlen - 96)) if of_ipv4 else chosen
    try:
        right = ip_network(value, strict=False)
    except ValueError:
        raise ValueError('a network is written as in "10.1.0.0/16", one address as in "10.1.0.5"') from None
    raise ValueError(f'the address has bits beyond the network: write "{right}", or the address alone')


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


@dataclass(frozen=True, slots=True)
class Lies:
    """What must be at a path: a file or a folder of others, to be read; or of ours, to be written and made if absent.

    `folder` None: either. `read_only`: what is there is only read.
    """

    folder: bool | None
    ours: bool = False
    read_only: bool = False


# Defined terms of Specific Character Set (PS3.3 C.12.1.1.2).
CharacterSet = Literal[
    "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126", "ISO_IR 138",
    "ISO_IR 148", "ISO_IR 13", "ISO_IR 166", "ISO_IR 192", "GB18030", "GBK",
]  # fmt: skip
Right = Annotated[str, AfterValidator(right)]
CertificateName = Annotated[str, AfterValidator(certificate)]
Reporter = Annotated[str, AfterValidator(reporter)]
AeTitle = Annotated[str, AfterValidator(ae_title)]
TimeZone = Annotated[str, AfterValidator(time_zone)]
Uid = Annotated[str, AfterValidator(uid)]
UidRoot = Annotated[str, AfterValidator(uid_root)]
Host = Annotated[str, AfterValidator(host)]
OwnHost = Annotated[str, AfterValidator(own_host)]
LongString = Annotated[str, AfterValidator(long_string)]
EmailAddress = Annotated[str, AfterValidator(email)]
Hours = Annotated[str, AfterValidator(hours)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(network)]
WebUrl = Annotated[str, AfterValidator(web_url)]
BaseUrl = Annotated[str, AfterValidator(base_url)]
RemoteUrl = Annotated[str, AfterValidator(remote_url)]
BrokerUrl = Annotated[str, AfterValidator(broker_url)]
LedgerUrl = Annotated[str, AfterValidator(ledger_url)]
Syslog = Annotated[str, AfterValidator(syslog)]
# Names stand in the ledger, in metrics and in lines on a terminal.
Name = Annotated[str, AfterValidator(name)]
Port = Annotated[int, Field(ge=1, le=65535)]
# Port 0: any that is free.
OwnPort = Annotated[int, Field(ge=0, le=65535)]
InFile = Annotated[Path, Lies(folder=False)]
# Made where it is absent; one that is there may be a secret that is mounted read-only.
KeptFile = Annotated[Path, Lies(folder=False, ours=True, read_only=True)]
OwnFile = Annotated[Path, Lies(folder=False, ours=True)]
OwnFolder = Annotated[Path, Lies(folder=True, ours=True)]
Sequence = Literal["t1c", "t2", "adc"]
