"""Ways to people: a webhook (JSON with `text`, as Slack, Mattermost and Teams take it), and e-mail."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.request
from email.message import EmailMessage

from config.schema import Email, Settings
from daemon.notify.notifier import Channel, Notice
from daemon.notify.trouble import WORDS

TIMEOUT_S = 15.0


def channels_of(settings: Settings) -> dict[str, Channel]:
    """The channels that are configured."""
    found: dict[str, Channel] = {}
    url, email = settings.notify.webhook_url, settings.notify.email
    if url is not None:
        found["webhook"] = lambda notice: post(url, notice)
    if email is not None:
        found["email"] = lambda notice: mail(email, notice)
    return found


def post(url: str, notice: Notice) -> None:
    """POST the notice. Raises OSError where it is not taken."""
    body = {"text": notice.text, "kind": notice.kind, "over": notice.over, "items": list(notice.items)}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "axrad"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):
        return


def mail(settings: Email, notice: Notice) -> None:
    """Send the notice by SMTP. Raises OSError (smtplib's errors are such) where it is not taken."""
    message = EmailMessage()
    message["From"], message["To"] = settings.sender, ", ".join(settings.to)
    message["Subject"] = f"axrad: {'over: ' if notice.over else ''}{WORDS[notice.kind]}"
    message.set_content(notice.text + "\n\n" + "\n".join(json.dumps(item) for item in notice.items) + "\n")
    with smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_S) as server:
        if settings.starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.user is not None:
            server.login(settings.user, settings.password or "")
        server.send_message(message)
