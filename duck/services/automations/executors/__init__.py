"""How runs are carried out that need nothing of the project: a shell, a request. What needs it: backend.django.jobs."""
