"""Changes of models that no migration has: what `makemigrations` would write, of the project's own applications."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List

from .seen import installed_places

_MOST = 50


def unmade() -> Dict[str, Any]:
    """`changes`: one sentence each, as Django describes them, beginning with the application; for JSON.

    None is told where Django cannot say: the checks and a migration say why. The database is not asked.
    """
    from django.apps import apps
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.questioner import MigrationQuestioner
    from django.db.migrations.state import ProjectState

    try:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        if loader.detect_conflicts():
            return {"changes": []}
        # What it would ask for (a default, say) is answered by nothing; whether it would be renamed, by no.
        detector = _detector()(loader.project_state(), ProjectState.from_apps(apps), MigrationQuestioner())
        found = detector.changes(graph=loader.graph)
    except Exception:
        return {"changes": []}
    return {
        "changes": [
            f"{label}: {operation.describe()}"
            for label, migrations in sorted(found.items())
            if _is_own(label, loader)
            for migration in migrations
            for operation in migration.operations
        ][:_MOST]
    }


def _detector() -> Any:
    """The one that the project's `makemigrations` uses (its own, since Django 5.2)."""
    from django.core.management.commands.makemigrations import Command
    from django.db.migrations.autodetector import MigrationAutodetector

    return getattr(Command, "autodetector", MigrationAutodetector)


def _is_own(label: str, loader: Any) -> bool:
    """Whether the migrations of an application are where somebody writes them: not in an installed package."""
    from django.apps import apps

    name, _ = loader.migrations_module(label)
    module = sys.modules.get(name or "")
    places: List[str] = list(getattr(module, "__path__", ())) or [apps.get_app_config(label).path]
    path = os.path.join(os.path.abspath(places[0]), "")
    return not path.startswith(installed_places()) and "/site-packages/" not in path and "/dist-packages/" not in path
