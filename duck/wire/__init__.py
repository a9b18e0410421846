"""Bytes to values and back: no socket, no loop, no clock."""
