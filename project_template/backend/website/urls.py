"""Django's URLs."""

from django.contrib import admin
from django.urls import path

from website import views

urlpatterns = [
    path("", views.welcome, name="welcome"),
    path("echo/", views.echo, name="echo"),
    path("admin/", admin.site.urls),
]
