"""Who takes part in an audited event: this process, a person at the command line, another node (PS3.15 A.5.2)."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import Any  # Any: values of JSON

from config.schema import Settings
from daemon.audit_trail.operating_user import operating_user

Json = dict[str, Any]


def code(pair: tuple[str, str]) -> Json:
    return {"csd-code": pair[0], "codeSystemName": "DCM", "originalText": pair[1]}


def ourselves(settings: Settings, role: tuple[str, str], *, requestor: bool = False) -> Json:
    return {
        "UserID": str(os.getpid()),
        "AlternativeUserID": f"AETITLES={settings.listen.ae_title}",
        "UserIsRequestor": requestor,
        "RoleIDCode": code(role),
        "NetworkAccessPointID": socket.gethostname(),
        "NetworkAccessPointTypeCode": 1,
    }


def operator(role: tuple[str, str]) -> Json:
    """Who gives the order: the user who logged in, where the kernel knows (sudo keeps that), else the one of now."""
    login, acting = operating_user()
    return {
        "UserID": login,
        "AlternativeUserID": acting,
        "UserIsRequestor": True,
        "RoleIDCode": code(role),
        "NetworkAccessPointID": socket.gethostname(),
        "NetworkAccessPointTypeCode": 1,
    }


def peer(ae_title: str, address: str, role: tuple[str, str], *, requestor: bool = False) -> Json:
    """Somebody else, by AE title and address (type 2: an IP address, 1: a name)."""
    try:
        kind = 2 if ip_address(address) else 1
    except ValueError:
        kind = 1
    return {
        "UserID": address or "local",
        "AlternativeUserID": f"AETITLES={ae_title}",
        "UserIsRequestor": requestor,
        "RoleIDCode": code(role),
        "NetworkAccessPointID": address or socket.gethostname(),
        "NetworkAccessPointTypeCode": kind,
    }
