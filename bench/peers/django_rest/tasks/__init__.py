"""The task routes as the users of Django REST Framework write them."""
