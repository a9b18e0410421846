"""Why a project is not to be served: pages of DEBUG are for who develops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duck.settings import views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duck.app.listening import Listening
    from duck.settings.load import Settings


def refusal(settings: Settings, listening: Listening, facts: Mapping[str, Any]) -> str:
    """Why Django with these facts is not to be served, in a sentence; empty where it is."""
    view = views.production(settings)
    if not view.serves or view.allow_debug or not facts.get("debug") or listening.is_private:
        return ""
    return (
        f"DEBUG is on in {facts.get('settings') or 'the settings'}, and {', '.join(listening.addresses)} can be reached"
        " from other machines, to whom its error pages would show code and settings; set DEBUG = False, listen at"
        " 127.0.0.1, or say --allow-debug."
    )
