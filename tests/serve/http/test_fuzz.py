"""Requests made up from the server's own description: none of them is the server's fault.

``ARCVIT_FUZZ=200`` makes up 200 of each kind, other ones each time.
"""

import copy
import os
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")
pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from arcvit.serve.http.openapi import described

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
SETTINGS = settings(
    max_examples=int(os.environ.get("ARCVIT_FUZZ", "6")),
    deadline=None,
    derandomize="ARCVIT_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def asked_about_real_tasks() -> dict[str, Any]:
    """The description, with names of tasks; without what ends them, and without timeouts.

    A time that is too short is told with 504, which is the client's own doing.
    """
    document = copy.deepcopy(described())
    shared = document["components"]
    shared["parameters"]["task"]["schema"] = {"enum": ["fruit", "shapes", "torn", "nothing"]}
    del document["paths"]["/v2/repository/models/{task}/unload"]
    del shared["schemas"]["InferRequest"]["properties"]["parameters"]["properties"]["timeout"]
    for path in document["paths"].values():
        for about in path.values():
            if isinstance(about, dict) and "parameters" in about:
                refs = ({"$ref": "#/components/parameters/timeout"},)
                about["parameters"] = [p for p in about["parameters"] if p not in refs]
    return document


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the tool's own
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_is_the_fault_of_the_server(client: Any, mode: GenerationMode) -> None:
    asked = 0
    schema = schemathesis.openapi.from_dict(asked_about_real_tasks())
    for found in schema.get_all_operations():

        @SETTINGS
        @given(case=found.ok().as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(base_url=str(client.base_url), checks=CHECKS)

        with suppress(Unsatisfiable):  # nothing can be wrong where nothing is asked for
            ask()
    assert asked > 50
