"""Where the project's default database is, for Duck's own connection with it."""

from __future__ import annotations

from typing import Any, Dict


def default_database() -> Dict[str, Any]:
    """`vendor`, as Django calls it, and `parameters` of libpq where that is `postgresql`; nothing is connected with.

    They hold the password: they are for Duck alone, and are never shown.
    """
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DEFAULT_DB_ALIAS, connections

    try:
        connection = connections[DEFAULT_DB_ALIAS]
        vendor = str(connection.vendor)
        told = connection.settings_dict
    except ImproperlyConfigured:
        return {"vendor": "", "parameters": {}}
    if vendor != "postgresql":
        return {"vendor": vendor, "parameters": {}}
    parameters = {
        key: value for key, value in (told.get("OPTIONS") or {}).items() if type(value) in (str, int)
    }  # others are of the driver or of Django
    for key, name in (
        ("NAME", "dbname"),
        ("USER", "user"),
        ("PASSWORD", "password"),
        ("HOST", "host"),
        ("PORT", "port"),
    ):
        if told.get(key):
            parameters[name] = told[key]
    return {"vendor": vendor, "parameters": {key: str(value) for key, value in parameters.items()}}
