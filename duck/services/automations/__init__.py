"""Scheduled work: what is declared, when it is due, and who runs it."""
