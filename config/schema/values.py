"""Kinds of values, each checked by what it means: an AE title, a host, a UID root, a time zone, a network.

A value is checked wherever a section is made, also in code. Nothing here looks at the machine: whether a file is there
is asked by `config.load` alone. Messages name what is allowed and do not repeat the value, which may be a secret.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

# Digits of a derived UID that make it unique beyond doubt (about 90 bits), and the dot before them: PS3.5 allows 64.
MOST_OF_A_ROOT = 64 - 28
DICOM_ROOT = "1.2.840.10008"
MAPPED_IPV4 = IPv6Network("::ffff:0:0/96")
UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
NAME_OF_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
EMAIL = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
SPOOL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
# The spool of a site that has one.
MAIN_SPOOL = "main"
HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")

RIGHTS = ("store", "retrieve", "echo", "commit", "report-commitment", "feedback", "find")


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


def spool_id(text: str) -> str:
    if not SPOOL_ID.fullmatch(text):
        raise ValueError('the id of a spool has 1 to 16 letters, digits, "-" and "_", as in "main" or "site-b"')
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
# Names stand in the ledger, in metrics and in lines on a terminal.
Name = Annotated[str, AfterValidator(name)]
SpoolId = Annotated[str, AfterValidator(spool_id)]
Port = Annotated[int, Field(ge=1, le=65535)]
# Port 0: any that is free.
OwnPort = Annotated[int, Field(ge=0, le=65535)]
InFile = Annotated[Path, Lies(folder=False)]
# Made where it is absent; one that is there may be a secret that is mounted read-only.
KeptFile = Annotated[Path, Lies(folder=False, ours=True, read_only=True)]
OwnFile = Annotated[Path, Lies(folder=False, ours=True)]
OwnFolder = Annotated[Path, Lies(folder=True, ours=True)]
Sequence = Literal["t1c", "t2", "adc"]
