"""Automations in the project's database: an application for INSTALLED_APPS, of standard library and Django alone."""
