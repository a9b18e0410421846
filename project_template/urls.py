"""The URLs that Duck answers itself; all others go to Django (see backend/website/urls.py)."""

from duck.urls import path

import views

urlpatterns = [
    path("/duck/hello/", views.hello, name="hello"),
    path("/duck/status.json", views.status, name="status"),
]
