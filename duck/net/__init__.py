"""Sockets and loops: callbacks that carry bytes and call `duck.wire`."""
