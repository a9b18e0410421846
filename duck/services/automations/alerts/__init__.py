"""Alerts: who is told when an automation fails, is late, is missed, has not run for long, or runs again.

alert      what is told, and what of a run is worth it; pure
channel    where to: read from AUTOMATION_ALERTS
webhook    one receiver asked by HTTP
outbox     a channel's thread and its bounded queue, so that a dead receiver holds nobody
alerts     Alerts: the observer that joins them
"""
