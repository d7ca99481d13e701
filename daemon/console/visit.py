"""One request of somebody who is signed in, and what a page needs to answer it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from starlette.responses import HTMLResponse, RedirectResponse, Response

from config.schema import Settings
from daemon import audit
from daemon.console import console_audit, rendering
from daemon.console.console_audit import Person
from daemon.console.identity_provider import IdentityProvider
from daemon.console.picture_process import PictureProcess
from daemon.console.rights import may
from daemon.console.sessions import Session, Sessions
from daemon.console.user_file import UserFile
from daemon.ledger import Ledger


@dataclass(frozen=True)
class ConsoleState:
    """What the console has for all requests. `config_path`: the settings that commands are given."""

    settings: Settings
    config_path: Path | None
    ledger: Ledger
    users: UserFile
    sessions: Sessions
    pictures: PictureProcess
    provider: IdentityProvider | None
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Visit:
    """`named`: parts of the path; `query` and `form`: what was asked and sent, one value per name."""

    state: ConsoleState
    session: Session
    scheme: str
    address: str
    named: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return self.state.settings

    @property
    def person(self) -> Person:
        return Person(self.session.user, self.session.role, self.address)

    def may(self, what: str) -> bool:
        return may(self.session.role, what)

    def viewed(self, page: str, study: audit.Study | None = None) -> None:
        console_audit.viewed(self.settings, self.person, page, study)

    def render(self, template: str, status: int = HTTPStatus.OK, **values: object) -> Response:
        """A page with its frame: navigation, user, language, and what came of the last order."""
        session = self.session
        notice, session.notice = session.notice, None
        frame = frame_values(self.settings, session.language) | {
            "user": session.user,
            "role": session.role,
            "csrf": session.csrf,
            "may": self.may,
            "notice": notice,
            "now": time.time(),
        }
        return HTMLResponse(rendering.page(template, {**frame, **values}), status)

    def back_to(self, path: str, done: bool | None = None, text: str = "") -> Response:
        """Show another page, which says first what came of an order."""
        if done is not None:
            self.session.notice = (done, text)
        return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def frame_values(settings: Settings, language: str) -> dict[str, object]:
    """What every page has, also where nobody is signed in."""
    return {
        "say": rendering.speaker(language),
        "at": rendering.clock_reader(settings.site.timezone),
        "language": language,
        "html_language": rendering.HTML_LANGUAGE[language],
        "languages": rendering.LANGUAGES,
        "institution": settings.site.institution,
        "user": None,
    }
