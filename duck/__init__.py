"""Duck: one process in front of a Django project. Importing this package starts nothing."""

__version__ = "0.1.0"
