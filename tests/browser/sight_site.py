"""The Django project whose files are changed while a browser looks at it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SETTINGS = """

import os

INSTALLED_APPS += ["shop"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
STATICFILES_DIRS = [BASE_DIR / "assets"]
X_FRAME_OPTIONS = "SAMEORIGIN"
MIDDLEWARE.insert(0, "django.middleware.gzip.GZipMiddleware")
if os.environ.get("SITE_ASGI"):
    ASGI_APPLICATION = "website.own_asgi.application"
"""

_URLS = """
from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home),
    path("view", views.view),
    path("strict", views.strict),
    path("listed", views.listed),
    path("meta", views.meta),
    path("stream", views.stream),
    path("items", views.items),
    path("listing", views.listing),
    path("frame", views.frame),
    path("broken", views.broken),
    path("part", views.part),
]
"""

VIEWS = '''
import os
import secrets
import time

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from shop.models import Item

GREETING = "Good morning"
PAGE = """<!doctype html><html lang=en><head><meta charset=utf-8>{head}<title>{title}</title>
<link rel=icon href=/static/dot.svg>
<link rel=stylesheet href=/static/site.css{nonce}></head><body><h1 id=title>{title}</h1>{body}</body></html>"""


def page(title, *, head="", body="", nonce=""):
    return PAGE.format(title=title, head=head, body=body, nonce=nonce)


def home(request):
    return render(request, "home.html", {"greeting": GREETING})


def view(request):
    return HttpResponse(page(GREETING))


def strict(request):
    nonce = secrets.token_urlsafe(12)
    script = f"<script nonce='{nonce}'>window.ran = true</script><script>window.stranger = true</script>"
    answer = HttpResponse(page("Strict", body=script, nonce=f" nonce={nonce}"))
    answer["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'nonce-{nonce}'"
        "; require-trusted-types-for 'script'; trusted-types none-of-ours"
    )
    return answer


def listed(request):
    answer = HttpResponse(page("Listed"))
    answer["Content-Security-Policy"] = "default-src 'self'"
    return answer


def meta(request):
    policy = "default-src 'self'; connect-src 'none'"
    return HttpResponse(page("Meta", head=f'<meta http-equiv="Content-Security-Policy" content="{policy}">'))


def stream(request):
    def pieces():
        begin, end = page("Stream").split("</body>")
        yield begin
        while not os.path.exists(request.GET["until"]):
            time.sleep(0.05)
            yield "<!-- -->"
        yield "<p id=end>end</p></body>" + end

    return StreamingHttpResponse(pieces())


def items(request):
    return HttpResponse(page(f"{Item.objects.count()} items"))


def listing(request):
    return HttpResponse(page("Names: " + ", ".join(item.name for item in Item.objects.all())))


def frame(request):
    return HttpResponse(page("Frame", body="<iframe id=inner src=/view></iframe>"))


def broken(request):
    order = {"lines": []}
    return HttpResponse(page(f"Total {total(order)}"))


def total(order):
    return sum(line["price"] for line in order["lines"]) / len(order["lines"])


def part(request):
    return HttpResponse("<p id=part>a part</p>")
'''

_HOME = """{% extends "base.html" %}
{% block body %}
<h1 id=title>{{ greeting }}, ducks</h1>
<p id=note>One note</p>
<form><input id=name name=name value=""><input id=agree type=checkbox name=agree>
<select id=size name=size><option>small<option>large</select><textarea id=text name=text></textarea></form>
<p id=filled></p>
<img id=dot src="/static/dot.svg" alt=dot><div id=back style="width:40px;height:40px"></div>
<div id=long style="height: 4000px">long</div>
{% endblock %}
"""

_BASE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><link rel="icon" href="/static/dot.svg"><title>Ducks</title>
<link rel="stylesheet" href="/static/site.css">
<script src="/static/app.js"></script>
</head>
<body class="calm">
{% block body %}{% endblock %}
<script>window.runs = (window.runs || 0) + 1; document.body.dataset.runs = window.runs;</script>
</body>
</html>
"""

_APP = """window.version = "one";
addEventListener("load", () => {
  document.getElementById("filled")?.append("filled by a script");
  document.body.classList.add("alive");
  const widget = document.createElement("div");
  widget.id = "widget";
  widget.textContent = "made by a script";
  document.body.prepend(widget);
});
"""

_CSS = """@import url("imported.css");
body { margin: 0; background: rgb(250, 250, 250); font-family: sans-serif; }
#title { color: rgb(1, 2, 3); }
#back { background-image: url("back.svg"); }
"""

_SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{0}"><rect width="{0}" height="{0}"/></svg>\n'

_ASGI = """\
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")
django = get_asgi_application()


async def application(scope, receive, send):
    await django(scope, receive, send)
"""

FILES = {
    "duck.toml": "MAX_QUEUE = 200\n",
    "website/urls.py": _URLS,
    "website/own_asgi.py": _ASGI,
    "shop/__init__.py": "",
    "shop/models.py": "from django.db import models\n\n\nclass Item(models.Model):\n    name = models.TextField()\n",
    "shop/views.py": VIEWS,
    "shop/migrations/__init__.py": "",
    "templates/base.html": _BASE,
    "templates/home.html": _HOME,
    "assets/site.css": _CSS,
    "assets/imported.css": "#note { color: rgb(4, 5, 6); }\n",
    "assets/app.js": _APP,
    "assets/dot.svg": _SVG.format(10),
    "assets/back.svg": _SVG.format(12),
}


def make_site(directory: Path) -> Path:
    """The project in `directory`; its migrations are made, and not applied."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environ.pop("DJANGO_SETTINGS_MODULE", None)
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "django", "startproject", "website", "."]
    subprocess.run(command, cwd=directory, env=environ, check=True, capture_output=True)
    for name, text in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with (directory / "website" / "settings.py").open("a") as settings:
        settings.write(_SETTINGS)
    made = [sys.executable, "manage.py", "makemigrations", "shop"]
    subprocess.run(made, cwd=directory, env=environ, check=True, capture_output=True)
    return directory
