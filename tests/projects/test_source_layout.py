"""Projects whose manage.py does more than Django's: environment files, configuration classes, sources below `src`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.projects.recipes import ADMIN, Tool, make

if TYPE_CHECKING:
    from tests.projects.conftest import Serve
    from tests.projects.pair import Pair

pytestmark = pytest.mark.timeout(240)  # the first time an environment and a project are made
USER, PASSWORD = ADMIN["DJANGO_SUPERUSER_USERNAME"], ADMIN["DJANGO_SUPERUSER_PASSWORD"]

ENVIRONMENT_FILE = """
SECRET_KEY="from the file of the environment # $x"
DEBUG=on
ALLOWED_HOSTS=localhost,127.0.0.1
DATABASE_URL=sqlite:///db.sqlite3
GREETING="Grüße, aus .env"
"""
SETTINGS_BASE = """

# What differs from one machine to the next.
import environ

env = environ.Env()
SECRET_KEY = env("SECRET_KEY")
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")
DATABASES = {"default": env.db()}
GREETING = env("GREETING")
INSTALLED_APPS += ["greetings"]
MEDIA_ROOT, MEDIA_URL = BASE_DIR / "media", "/media/"
"""
SETTINGS_LOCAL = """
from .base import *

INSTALLED_APPS += ["django.contrib.admindocs"]
LOCAL = True
"""
# As django-environ and cookiecutter-django have it: the file is read, and `apps` put on the path, before Django starts.
MANAGE = """
def main():
    import environ
    from pathlib import Path

    root = Path(__file__).resolve().parent
    environ.Env.read_env(root.parent / ".env")
    sys.path.insert(0, str(root / "apps"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")
    os.environ["STARTED_AS"] = " ".join(sys.argv[1:2])
"""
GREETINGS = """
import os
import sys

from django.conf import settings
from django.http import JsonResponse


def greeting(request):
    return JsonResponse({
        "greeting": settings.GREETING, "local": settings.LOCAL, "module": os.environ["DJANGO_SETTINGS_MODULE"],
        "as": os.environ["STARTED_AS"], "argv": sys.argv[1:2], "cwd": os.getcwd().rpartition("/")[2],
        "secret": settings.SECRET_KEY, "name": settings.SETTINGS_MODULE,
    })
"""


def src_layout(tool: Tool) -> None:
    source = tool.directory / "src"
    source.mkdir()
    tool.startproject("config", "src")
    (source / "apps" / "greetings").mkdir(parents=True)
    tool.manage("startapp", "greetings", "apps/greetings", cwd=source)
    settings = source / "config" / "settings"
    settings.mkdir()
    (source / "config" / "settings.py").rename(settings / "base.py")
    tool.write("src/config/settings/__init__.py", "")
    tool.append("src/config/settings/base.py", SETTINGS_BASE)
    tool.write("src/config/settings/local.py", SETTINGS_LOCAL)
    tool.write(".env", ENVIRONMENT_FILE)
    manage = (source / "manage.py").read_text()
    head, _, rest = manage.partition("def main():\n")
    _, _, call = rest.partition("    try:\n")
    (source / "manage.py").write_text(head + MANAGE.lstrip() + "    try:\n" + call)
    tool.append("src/apps/greetings/views.py", GREETINGS)
    tool.append(
        "src/config/urls.py",
        "\nfrom django.urls import include\nfrom greetings.views import greeting\n"
        'urlpatterns += [path("greeting/", greeting), path("docs/", include("django.contrib.admindocs.urls"))]\n',
    )
    tool.migrate(cwd=source, settings="src/config/settings/base.py")


@pytest.fixture(scope="module", params=["here", "above"])
def site(serve: Serve, request: pytest.FixtureRequest) -> Pair:
    """Duck is started in manage.py's directory, and in the one above it."""
    project = make(src_layout, "3.11", "django-environ", "docutils", "Django>=5.2,<5.3")
    return serve(project, below="src", duck_below="src" if request.param == "here" else ".")


def test_the_environment_file_the_path_and_the_settings_are_those_of_manage_py(site: Pair) -> None:
    answer = site.get("/greeting/")
    assert '"greeting": "Gr\\u00fc\\u00dfe, aus .env"' in answer.text
    assert '"module": "config.settings.local"' in answer.text
    assert '"as": "runserver"' in answer.text
    site.check()


def test_the_admin_and_its_pages(site: Pair) -> None:
    site.fresh()
    for target in ("/nothing", "/media/", "/greeting", "/static/admin/css/base.css"):
        site.conditional(target)
    site.follow(site.submit("/admin/login/?next=/admin/", username=USER, password=PASSWORD))
    site.crawl("/admin/", "/docs/", limit=30)
    site.check()


SETTINGS_CLASS = """
from configurations import Configuration, values

from . import defaults


class Development(Configuration):
    DOTENV = defaults.BASE_DIR / ".env"
    locals().update({name: value for name, value in vars(defaults).items() if name.isupper()})
    SECRET_KEY = values.SecretValue()
    DEBUG = values.BooleanValue(False)
    GREETING = values.Value("none")
    LOCAL = True

    @classmethod
    def post_setup(cls):
        import os

        os.environ["STARTED_AS"] = "a class"
"""
CLASS_ENVIRONMENT = """
DJANGO_SECRET_KEY=from-the-file
DJANGO_DEBUG=yes
DJANGO_GREETING='for a class'
"""


def configurations(tool: Tool) -> None:
    tool.startproject("mysite", ".")
    (tool.directory / "mysite" / "settings.py").rename(tool.directory / "mysite" / "defaults.py")
    tool.write("mysite/settings.py", SETTINGS_CLASS)
    tool.write(".env", CLASS_ENVIRONMENT)
    for name, module in (("manage.py", "management"), ("mysite/wsgi.py", "wsgi"), ("mysite/asgi.py", "asgi")):
        path = tool.directory / name
        text = path.read_text().replace(f"from django.core.{module} import", f"from configurations.{module} import")
        setting = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')"
        assert setting in text
        indent = "    " if name == "manage.py" else ""
        path.write_text(
            text.replace(setting, f"{setting}\n{indent}os.environ.setdefault('DJANGO_CONFIGURATION', 'Development')")
        )
    tool.write("mysite/views.py", GREETINGS)
    tool.append("mysite/urls.py", '\nfrom mysite.views import greeting\nurlpatterns += [path("greeting/", greeting)]\n')
    tool.migrate(settings="mysite/defaults.py")


def test_configuration_classes_are_set_up_as_manage_py_does(serve: Serve) -> None:
    site = serve(make(configurations, "3.12", "django-configurations", "Django>=5.2,<5.3"))
    assert '"greeting": "for a class"' in site.get("/greeting/").text
    site.follow(site.submit("/admin/login/?next=/admin/", username=USER, password=PASSWORD))
    site.crawl("/admin/", "/nothing", limit=10)
    site.check()
