"""Settings of Duck for this project; `duck settings` shows them all, and where each was given.

The command line and DUCK_* environment variables go before what stands here.
Django's own settings are in backend/website/settings.py.
"""

# Details of errors in Duck's own views. Django has a DEBUG of its own.
DEBUG = True

# Signs what Duck's own views sign. Made for this project; keep it secret, and give production another one in the
# environment variable DUCK_SECRET_KEY.
SECRET_KEY = "{{ duck_secret_key }}"

# The Django project behind Duck, and what it is told to do before it starts.
DJANGO_PROJECT = "backend"
DJANGO_COMMANDS_ON_STARTUP = ["migrate --noinput"]

# Duck's own URLs. All others are Django's.
URLPATTERNS_MODULE = "urls"
TEMPLATE_DIRS = ["templates"]
