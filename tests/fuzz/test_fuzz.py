"""A short run of the fuzzer, always the same; `make fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import fuzz

pytestmark = pytest.mark.slow


def test_nothing_comes_that_the_document_does_not_foresee(own_url: str, tmp_path: Path) -> None:
    result = fuzz(own_url, tmp_path, max_examples=10)
    assert result.faults == "", result.output
    assert result.requests.total() > 500
    for answer in (
        "POST /api/{user_id}/tasks 201",
        "GET /api/{user_id}/tasks/{id} 200",
        "PATCH /api/{user_id}/tasks/{id} 412",
        "DELETE /api/{user_id}/tasks/{id} 204",
        "GET /api/{user_id}/tasks/{id} 404",
        "POST /api/auth/login 429",
    ):
        assert result.requests[answer], answer
