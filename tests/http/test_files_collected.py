"""What Django itself collects: the admin's files by `collectstatic`, with hashed names, and by links."""

import json
import os
import subprocess
import sys

import pytest

from duck.http.files import StaticFiles
from tests.http.file_site import Site

SETTINGS = """
INSTALLED_APPS = [
    "django.contrib." + name for name in ("admin", "auth", "contenttypes", "messages", "sessions", "staticfiles")
]
STATIC_URL = "/static/"
STATIC_ROOT = {root!r}
SECRET_KEY = "x"
STORAGES = {{"staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.{storage}"}}}}
"""


def collect(tmp_path, storage, *options):
    """A site over what `collectstatic` makes."""
    root = tmp_path / "collected"
    (tmp_path / "collecting.py").write_text(SETTINGS.format(root=str(root), storage=storage))
    subprocess.run(
        [sys.executable, "-m", "django", "collectstatic", "--noinput", "--settings", "collecting", *options],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        timeout=50,
    )
    return Site(root, lambda s: StaticFiles("/static/", s.django, root=str(root), now=s.now))


@pytest.mark.usefixtures("no_descriptor_is_left")
def test_every_name_that_django_hashed_is_immutable_and_no_other(tmp_path):
    site = collect(tmp_path, "ManifestStaticFilesStorage")
    hashed = set(json.loads((site.root / "staticfiles.json").read_text())["paths"].values())
    files = [str(path.relative_to(site.root)) for path in site.root.rglob("*") if path.is_file()]
    assert len(files) > 200 and len(hashed) > 100
    for _ in range(2):
        for name in files:
            answer = site.ask(f"/static/{name}".encode())
            assert answer.status == 200 and answer.body == (site.root / name).read_bytes()
            assert ("immutable" in answer.field("cache-control")) == (name in hashed)
            untyped = answer.field("content-type") == "application/octet-stream"
            assert not (untyped and name.endswith((".css", ".js", ".md", ".svg", ".txt")))


@pytest.mark.usefixtures("no_descriptor_is_left")
def test_what_was_collected_as_links_is_served(tmp_path):
    site = collect(tmp_path, "StaticFilesStorage", "--link")
    assert (site.root / "admin/css/base.css").is_symlink()
    assert site.ask(b"/static/admin/css/base.css").body == (site.root / "admin/css/base.css").read_bytes()
