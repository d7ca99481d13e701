"""Tells the audit trail of settings that are others than at the last start: which sections, never their values."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

import structlog

from config.schema import Settings
from daemon import audit

log = structlog.get_logger("axrad.audit")


def digests_path(settings: Settings) -> Path:
    trail = audit.trail_path(settings)
    return trail.with_name(trail.name + ".settings")


def tell_of_changed_settings(settings: Settings) -> None:
    """Compare each section with its digest of the last start. The first start has nothing to compare with."""
    if not settings.audit.enabled:
        return
    path = digests_path(settings)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        key, before = str(known["key"]), dict(known["sections"])
    except (OSError, ValueError, KeyError, TypeError):
        key, before = secrets.token_hex(16), None
    now = {
        name: hmac.new(key.encode(), _text_of(settings, name), hashlib.sha256).hexdigest()
        for name in type(settings).model_fields
    }
    if before is not None:
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            audit.operator_action(settings, "configure", detail=", ".join(changed))
    if before != now:
        _write(path, json.dumps({"key": key, "sections": now}))


def _text_of(settings: Settings, section: str) -> bytes:
    value = settings.model_dump(mode="json", include={section})
    return json.dumps(value, sort_keys=True, default=str).encode()


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)
    except OSError as error:
        log.error("settings-digests-not-written", errno=error.errno)
