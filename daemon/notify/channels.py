"""Ways to people: a webhook (JSON with `text`, as Slack, Mattermost and Teams take it), and e-mail."""

from __future__ import annotations

import json
import smtplib
import ssl
from email.message import EmailMessage
from functools import partial

import requests

from config.schema import Email, Settings
from daemon.network.redirects import CarefulSession
from daemon.network.tls_profile import accept_older_authorities
from daemon.notify.conditions import WORDS
from daemon.notify.notifier import Channel, Notice
from pipeline.errors import PeerUnreachable

CHANNEL_TIMEOUT_S = 15.0
# Chat services acknowledge with a word or two of plain text or JSON.
MAX_ACKNOWLEDGEMENT_BYTES = 64 << 10


def channels_of(settings: Settings) -> dict[str, Channel]:
    """The channels that are configured; each recipient of e-mail is one, since a server may refuse one of several."""
    channels: dict[str, Channel] = {}
    url, email = settings.notify.webhook_url, settings.notify.email
    if url is not None:
        channels["webhook"] = partial(post, url)
    for number, recipient in enumerate(email.to if email is not None else (), start=1):
        assert email is not None
        only = email.model_copy(update={"to": (recipient,)})
        channels["email" if number == 1 else f"email-{number}"] = partial(mail, only)
    return channels


def post(url: str, notice: Notice) -> None:
    """POST the notice to this URL and no other. Raises OSError where it is not taken.

    Taken is what is answered with a status 2xx that no page and no complaint goes with: a login page has one, and some
    chat services tell of a failure under 200.
    """
    body = {"text": notice.text, "kind": notice.kind, "over": notice.over, "items": list(notice.items)}
    try:
        with (
            CarefulSession("the webhook", "notify.webhook_url", paths=False) as session,
            session.post(
                url,
                json=body,
                headers={"User-Agent": "axrad"},
                timeout=CHANNEL_TIMEOUT_S,
                stream=True,
                allow_redirects=False,
            ) as answer,
        ):
            if not 200 <= answer.status_code < 300:
                raise OSError(f"HTTP status {answer.status_code}")
            answer_body = next(answer.iter_content(MAX_ACKNOWLEDGEMENT_BYTES), b"")
    except requests.RequestException as error:
        raise OSError(type(error).__name__) from None
    except PeerUnreachable as error:
        raise OSError(error.message) from None
    if why := _complaint(answer_body.decode("utf-8", "replace").strip()):
        raise OSError(why)


def _complaint(body: str) -> str:
    """What a body under a status 2xx says against it; empty if nothing."""
    if body.startswith("<"):
        return "a page instead of an acknowledgement"
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        failed = "delivery failed" in body.lower()  # Microsoft Teams, for one
        return "the service says that it failed" if failed else ""
    if isinstance(answer, dict) and (answer.get("ok") is False or answer.get("error")):
        return "the service says that it failed"
    return ""


def mail(settings: Email, notice: Notice) -> None:
    """Send the notice by SMTP. Raises OSError (smtplib's errors are such) where it is not taken for every recipient."""
    message = EmailMessage()
    message["From"], message["To"] = settings.sender, ", ".join(settings.to)
    message["Subject"] = f"axrad: {'over: ' if notice.over else ''}{WORDS[notice.kind]}"
    message.set_content(notice.text + "\n\n" + "\n".join(json.dumps(item) for item in notice.items) + "\n")
    with smtplib.SMTP(settings.host, settings.port, timeout=CHANNEL_TIMEOUT_S) as server:
        if settings.starttls:
            context = ssl.create_default_context()
            accept_older_authorities(context)
            server.starttls(context=context)
        if settings.user is not None:
            server.login(settings.user, settings.password or "")
        if refused := server.send_message(message):
            raise OSError(f"{len(refused)} of {len(settings.to)} recipients are refused")
