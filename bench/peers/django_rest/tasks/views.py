"""The views of accounts and tasks."""

from django.conf import settings
from django.db import IntegrityError
from django.db.models import QuerySet
from rest_framework import generics, serializers
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tasks.models import Task, User
from tasks.security import hasher, issue_token, verify_password
from tasks.serializers import (
    LoginSerializer,
    SignupSerializer,
    TaskSerializer,
    TaskUpdateSerializer,
)


class Health(APIView):
    """GET /health."""

    authentication_classes = []
    permission_classes = []

    def get(self, request: Request) -> Response:
        """Tell that the process lives."""
        return Response({"status": "ok"})


class EmailTaken(APIException):
    """The address has an account."""

    status_code = 409
    default_detail = "Email already registered"


class SignUp(APIView):
    """POST /api/auth/signup."""

    authentication_classes = []
    permission_classes = []

    def post(self, request: Request) -> Response:
        """Create an account."""
        body = SignupSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            user = User.objects.create(
                email=body.validated_data["email"],
                password_hash=hasher.hash(body.validated_data["password"]),
            )
        except IntegrityError:
            raise EmailTaken from None
        return Response({"user_id": user.id, "email": user.email}, 201)


class LogIn(APIView):
    """POST /api/auth/login."""

    authentication_classes = []
    permission_classes = []

    def get_authenticate_header(self, request: Request) -> str:
        return "Bearer"

    def post(self, request: Request) -> Response:
        """Exchange credentials for a token."""
        body = LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        user = User.objects.filter(email__lower=body.validated_data["email"].lower()).first()
        password_hash = user.password_hash if user else None
        if not verify_password(password_hash, body.validated_data["password"]):
            raise AuthenticationFailed("Invalid credentials")
        return Response(
            {
                "user_id": user.id,
                "email": user.email,
                "token": issue_token(user),
                "token_type": "Bearer",
                "expires_in": settings.JWT_EXPIRES_SECONDS,
            }
        )


class Limit(serializers.Serializer):
    """The query of a list."""

    limit = serializers.IntegerField(min_value=1, max_value=1000, default=1000)


class OwnTasks(generics.GenericAPIView):
    """The tasks of the token's user."""

    serializer_class = TaskSerializer
    lookup_field = "id"

    def get_queryset(self) -> QuerySet[Task]:
        return Task.objects.filter(user_id=self.request.user.id)


class TaskList(OwnTasks, generics.ListCreateAPIView):
    """GET and POST /api/{user_id}/tasks."""

    def filter_queryset(self, queryset: QuerySet[Task]) -> QuerySet[Task]:
        query = Limit(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return queryset[: query.validated_data["limit"]]

    def perform_create(self, serializer: TaskSerializer) -> None:
        serializer.save(user_id=self.request.user.id)


class TaskDetail(OwnTasks, generics.RetrieveUpdateDestroyAPIView):
    """GET, PUT and DELETE /api/{user_id}/tasks/{id}."""

    http_method_names = ["get", "put", "delete", "head", "options"]

    def get_serializer_class(self) -> type[TaskSerializer]:
        return TaskUpdateSerializer if self.request.method == "PUT" else TaskSerializer

    def perform_update(self, serializer: TaskSerializer) -> None:
        # updated_at is made by a trigger.
        serializer.save().refresh_from_db()


class TaskComplete(OwnTasks):
    """PATCH /api/{user_id}/tasks/{id}/complete."""

    def patch(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Toggle `completed`."""
        task = self.get_object()
        task.completed = not task.completed
        task.save()
        task.refresh_from_db()
        return Response(self.get_serializer(task).data)
