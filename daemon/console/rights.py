"""Who may see which page and give which order: two tables, and nothing else in the console asks for a role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Role = Literal["viewer", "radiologist", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
_ALL: Final = frozenset(ROLES)
_OF_PATIENTS: Final[frozenset[Role]] = frozenset({"radiologist", "operator", "admin"})
_TECHNICAL: Final[frozenset[Role]] = frozenset({"operator", "admin"})

# `names`: patients' names, birth dates and ids on an exam's page. `pictures`: pixels of images and regions.
PAGES: Final[Mapping[str, frozenset[Role]]] = {
    "today": _ALL,
    "exams": _ALL,
    "exam": _ALL,
    "names": _OF_PATIENTS,
    "search": _OF_PATIENTS,
    "pictures": _OF_PATIENTS,
    "report": _OF_PATIENTS,
    "destinations": _ALL,
    "signatures": _ALL,
    "workers": _ALL,
    "log": frozenset({"admin"}),
}
# A reader's word on a region is a radiologist's alone, also not an administrator's.
ACTIONS: Final[Mapping[str, frozenset[Role]]] = {
    "retry": _TECHNICAL,
    "redo": _TECHNICAL,
    "accept-identity": _TECHNICAL,
    "cancel": _TECHNICAL,
    "prioritise": _OF_PATIENTS,
    "choose": _OF_PATIENTS,
    "deliver": _TECHNICAL,
    "accept": frozenset({"radiologist"}),
    "reject": frozenset({"radiologist"}),
    "test-destination": _TECHNICAL,
    "activate": frozenset({"admin"}),
}


def may(role: Role, what: str) -> bool:
    """Whether a role may see a page, or give an order. What is in neither table nobody may."""
    return role in PAGES.get(what, frozenset()) or role in ACTIONS.get(what, frozenset())
