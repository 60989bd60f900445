"""The routes."""

from django.urls import path
from tasks import views

urlpatterns = [
    path("health", views.Health.as_view()),
    path("api/auth/signup", views.SignUp.as_view()),
    path("api/auth/login", views.LogIn.as_view()),
    path("api/<uuid:user_id>/tasks", views.TaskList.as_view()),
    path("api/<uuid:user_id>/tasks/<uuid:id>", views.TaskDetail.as_view()),
    path("api/<uuid:user_id>/tasks/<uuid:id>/complete", views.TaskComplete.as_view()),
]
