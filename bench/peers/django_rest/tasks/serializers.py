"""What goes in and out as JSON."""

from rest_framework import serializers

from tasks.models import Task


class SignupSerializer(serializers.Serializer):
    """The body of sign-up."""

    email = serializers.RegexField(r"^[^@\s]+@[^@\s]+$", max_length=254)
    password = serializers.CharField(min_length=8, max_length=128, trim_whitespace=False)


class LoginSerializer(serializers.Serializer):
    """The body of login."""

    email = serializers.CharField()
    password = serializers.CharField(trim_whitespace=False)


class TaskSerializer(serializers.ModelSerializer):
    """A task as clients see it, and the body of POST."""

    user_id = serializers.UUIDField(read_only=True)
    description = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=10_000,
        trim_whitespace=False,
    )

    class Meta:
        model = Task
        fields = [
            "id",
            "user_id",
            "title",
            "description",
            "completed",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "created_at", "updated_at"]


class TaskUpdateSerializer(TaskSerializer):
    """The body of PUT; a description that is left out is unchanged."""

    class Meta(TaskSerializer.Meta):
        read_only_fields = [*TaskSerializer.Meta.read_only_fields, "completed"]
