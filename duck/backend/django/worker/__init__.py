"""What runs in the project's own interpreter: standard library only, Python 3.10, Django 4.2 or newer.

Started as a file (`PROJECT_PYTHON .../worker/__main__.py`) and loaded under the private name `_duck_worker`: a mirror
of the package `duck` that holds only what is loaded here, these files and `wire/link.py`. Duck's own packages are never
on the path of this process, and nothing of Duck is importable by the project under a public name.
"""
