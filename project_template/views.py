"""Views that Duck answers itself, without Django."""

import os
import platform

from duck import __version__
from duck.shortcuts import jsonify, render


def hello(request):
    """A page from a template of this project."""
    return render(request, "hello.html", {"name": request.GET.get("name", "there"), "version": __version__})


def status(request):
    """A few facts as JSON."""
    return jsonify(
        {"answered_by": "duck", "version": __version__, "python": platform.python_version(), "pid": os.getpid()}
    )
