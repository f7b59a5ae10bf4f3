"""What schemathesis must know beyond the OpenAPI document: names that exist, and unsaid rules."""

import os
from typing import Any

import schemathesis

CHAT = "/api/organizations/{orgId}/ai/chat/completions"
# Rules that OpenAPI has no words for: between fields, between requests, and about numbers in
# fields that nobody knows or that are whole only to JSON Schema (1.0).
UNSAID = ("after ", "This Idempotency-Key was used before")
NUMBERS = ("must be a finite number of 64 bits", "must be a whole number")


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Only what this site has is valid; without this nearly every request would be a 404."""
    organization, model = ({"type": "string", "enum": [os.environ[n]]} for n in ("ORG", "MODEL"))
    components = raw_schema["components"]
    components["parameters"]["orgId"]["schema"] = organization
    components["parameters"]["model"]["schema"] = model
    components["schemas"]["ChatCompletionRequest"]["properties"]["model"] = model
    body = raw_schema["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        example["value"]["model"] = os.environ["MODEL"]


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether it is one: a request may fit its schema and break one of the unsaid rules."""
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    message = response.json()["error"]["message"]
    return not message.startswith(UNSAID) and not any(words in message for words in NUMBERS)
