"""A TypeScript client, made from the document, compiles and takes the tour."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.project.test_api_page import PAGE, SHOWN
from tests.support.accounts import Account
from tests.support.openapi import write_document
from tests.support.service import Service

SOURCE = Path(__file__).parent / "typescript"


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_javascript_shows_faults_as_the_page_says(
    tmp_path: Path, service: Service, user: Account
) -> None:
    [code] = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)
    assert code.count("\n") == 3
    requests = [
        {"method": "POST", "body": '{"completed": "yes"}'},
        {"method": "POST", "body": "[]"},
        {"method": "GET", "path": f"/{user.id}"},
    ]
    headers = json.dumps(user.headers | {"Content-Type": "application/json"})
    for request, expected in zip(requests, SHOWN, strict=True):
        url = f"{service.url}{user.tasks}{request.pop('path', '')}"
        fetch = f"await fetch('{url}', {{headers: {headers}, ...{json.dumps(request)}}})"
        (tmp_path / "show.mjs").write_text(f"const response = {fetch};\n{code}")
        assert run(tmp_path, "node", "show.mjs") == expected


def test_a_generated_client_compiles_and_takes_the_tour(tmp_path: Path, service: Service) -> None:
    for name in ("package.json", "package-lock.json", "tour.ts", "named.ts"):
        shutil.copy(SOURCE / name, tmp_path)
    run(tmp_path, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    generated = tmp_path / "generated" / "taskapi.d.ts"
    document = str(write_document(tmp_path))
    run(tmp_path, "npx", "--no", "--", "openapi-typescript", document, "--output", str(generated))
    # Again, with the values of enums as members that have names.
    named = str(generated.with_name("named.ts"))
    run(tmp_path, "npx", "--no", "--", "openapi-typescript", document, "--enum", "--output", named)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    run(tmp_path, "npx", "--no", "--", "tsc", *options, "tour.ts", "named.ts")
    printed = run(tmp_path, "node", "tour.js", service.url)
    assert json.loads(printed) == [["Buy milk"], None, 204, 404]
    assert json.loads(run(tmp_path, "node", "named.js")) == ["-created_at", "created_at"]
