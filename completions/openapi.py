"""The OpenAPI document of the served endpoint."""

from typing import Any

from completions.schemas import MODEL, SCHEMAS, ref

CHAT = "/api/organizations/{orgId}/ai/chat/completions"
ANSWER = CHAT + "/{id}"
MODELS = "/api/organizations/{orgId}/ai/models"
ONE_MODEL = MODELS + "/{id}"

ANSWER_ID = "^chatcmpl-[0-9a-f]{32}$"
IDEMPOTENCY_KEY = "^[!-~]{0,255}$"  # an empty one is as none
AFTER = "^[0-9]{1,9}(,[0-9]{1,9}){0,127}$"

_INTRODUCTION = """\
Chat completions, as OpenAI's clients speak them: set their base URL to \
`{base_url}/api/organizations/{{orgId}}/ai`.

Make a token under Settings > Access tokens, and send it as `x-api-key` or as a bearer token; with \
both, `x-api-key` counts. Every error is JSON with a `message` for people and a `type` and `code` \
for programs; `x-request-id` names the request to an administrator."""

_STREAM = """\
With `stream: true`, server-sent events: each `data:` line is one ChatCompletionChunk, the last \
one `data: [DONE]`. For each choice there is first a delta with the role, then deltas with what is \
new, then an empty delta with the finish_reason. Lines that begin with a colon only keep the \
connection open. If the answer fails on its way, the last event is an Error, and there is no \
finish_reason."""

_REQUEST_EXAMPLES = {
    "hello": {
        "summary": "One answer",
        "value": {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "Answer in one sentence."},
                {"role": "user", "content": "Why is the sky blue?"},
            ],
            "temperature": 0.2,
        },
    },
    "stream": {
        "summary": "As it is written, with the usage at the end",
        "value": {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Why is the sky blue?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    },
}
_ANSWER_EXAMPLE = {
    "id": "chatcmpl-8a0cb16a7d3f4a0d9d1f3f1d2c0b9e55",
    "object": "chat.completion",
    "created": 1700000000,
    "model": MODEL,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Air scatters blue light more than red light.",
                "refusal": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 10, "total_tokens": 34},
}
_STREAM_EXAMPLE = """\
data: {"id":"chatcmpl-8a0c","object":"chat.completion.chunk","created":1700000000,"model":"m",\
"choices":[{"index":0,"delta":{"content":"Air"},"logprobs":null,"finish_reason":null}]}

data: [DONE]

"""
_MODEL_EXAMPLE = {"id": MODEL, "object": "model", "created": 1700000000, "owned_by": "chatsite"}

# What each status means, and an example's message, type, param and code.
_ERRORS = {
    400: (
        "The request is wrong; `param` names the field. Or the provider refuses it, or the "
        "messages are too long for the model.",
        ("n must be a whole number.", "invalid_request_error", "n", "invalid_value"),
    ),
    401: (
        "There is no token, or it is wrong, expired or revoked.",
        ("The token is not valid.", "authentication_error", None, "invalid_api_key"),
    ),
    403: (
        "The token is good, but not for this: its scopes lack it.",
        ("The token's scopes lack this.", "permission_error", None, "insufficient_scope"),
    ),
    404: (
        "The model, the answer or the path does not exist; or the organization does not, or the "
        "token is not for it: these two are told alike.",
        ("The model 'x' does not exist.", "invalid_request_error", "model", "model_not_found"),
    ),
    405: (
        "The path does not know this method; `Allow` names those it knows.",
        ("Use POST.", "invalid_request_error", None, "method_not_allowed"),
    ),
    408: (
        "The body took too long to arrive.",
        ("The body took too long.", "invalid_request_error", None, "timeout"),
    ),
    409: (
        "The answer was stopped by a person.",
        ("The answer was stopped by a person.", "stopped", None, "stopped"),
    ),
    413: (
        "The body is too large.",
        ("The body is too large.", "invalid_request_error", None, "request_too_large"),
    ),
    415: (
        "The body is not sent as application/json.",
        ("Send application/json.", "invalid_request_error", None, "unsupported_media_type"),
    ),
    422: (
        "The Idempotency-Key was used with another body.",
        ("The key was used before.", "invalid_request_error", None, "idempotency_mismatch"),
    ),
    429: (
        "Too many requests, here or at the provider; `Retry-After` says for how long to wait.",
        ("Too many requests.", "rate_limit_error", None, "rate_limit_exceeded"),
    ),
    500: (
        "Something went wrong on this server.",
        ("Something went wrong on this server.", "server_error", None, "internal"),
    ),
    502: (
        "The provider failed, could not be reached, or refused this site's own key.",
        ("The provider could not be reached.", "upstream_error", None, "unreachable"),
    ),
    503: (
        "The provider has too much to do, or this server is restarting.",
        ("The provider is overloaded.", "upstream_error", None, "overloaded"),
    ),
    504: (
        "The provider did not answer in time.",
        ("The provider's answer stopped growing.", "upstream_error", None, "stalled"),
    ),
}


def document(base_url: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document; base_url is the site's, without a slash at its end."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chatsite",
            "version": version,
            "summary": "Chat completions with an organization's models.",
            "description": _INTRODUCTION.format(base_url=base_url),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "security": [{"apiKey": []}, {"bearer": []}],
        "tags": [
            {"name": "Chat", "description": "Ask a model."},
            {"name": "Models", "description": "Which models may be asked."},
        ],
        "paths": {
            CHAT: {"parameters": [_path("orgId")], "post": _create()},
            ANSWER: {"parameters": [_path("orgId"), _path("id")], "get": _fetch()},
            MODELS: {"parameters": [_path("orgId")], "get": _list_models()},
            ONE_MODEL: {"parameters": [_path("orgId"), _path("model")], "get": _fetch_model()},
        },
        "components": {
            "schemas": dict(SCHEMAS),
            "parameters": _parameters(),
            "headers": _headers(),
            "responses": {_name(status): _error(status) for status in _ERRORS},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _create() -> dict[str, Any]:
    answer = _answer("The answer.")
    answer["headers"] |= _header_refs(*_RATE_LIMITS)
    answer["links"] = {
        "answer": {
            "operationId": "getChatCompletion",
            "parameters": {"orgId": "$request.path.orgId", "id": "$response.body#/id"},
        }
    }
    return {
        "operationId": "createChatCompletion",
        "tags": ["Chat"],
        "summary": "Answer messages",
        "description": _STREAM,
        "parameters": [{"$ref": "#/components/parameters/idempotencyKey"}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ref("ChatCompletionRequest"),
                    "examples": _REQUEST_EXAMPLES,
                }
            },
        },
        "responses": {"200": answer} | _errors(*_ERRORS),
    }


def _fetch() -> dict[str, Any]:
    return {
        "operationId": "getChatCompletion",
        "tags": ["Chat"],
        "summary": "Fetch an answer again",
        "description": "The answer to an earlier request, for whom the connection broke. An answer "
        "that failed has the status and the error that it failed with.",
        "parameters": [
            {
                "name": "stream",
                "in": "query",
                "description": "Send it as server-sent events, as it grows if it still does.",
                "schema": {"type": "boolean", "default": False},
            },
            {
                "name": "after",
                "in": "query",
                "description": "With stream=true: how many characters (Unicode code points) of "
                "each choice's content have been received, comma-separated in the choices' order; "
                "the stream goes on from there.",
                "schema": {"type": "string", "pattern": AFTER},
                "examples": {"one": {"value": "120"}, "two choices": {"value": "120,97"}},
            },
        ],
        "responses": {"200": _answer("The answer.")}
        | _errors(400, 401, 403, 404, 405, 409, 429, 500, 502, 503, 504),
    }


def _list_models() -> dict[str, Any]:
    example = {"object": "list", "data": [_MODEL_EXAMPLE]}
    return {
        "operationId": "listModels",
        "tags": ["Models"],
        "summary": "List the models that the token's owner may ask",
        "responses": {"200": _ok("The models.", "ModelList", example)}
        | _errors(401, 403, 404, 405, 500, 503),
    }


def _fetch_model() -> dict[str, Any]:
    return {
        "operationId": "getModel",
        "tags": ["Models"],
        "summary": "Look one model up",
        "responses": {"200": _ok("The model.", "Model", _MODEL_EXAMPLE)}
        | _errors(401, 403, 404, 405, 500, 503),
    }


def _answer(description: str) -> dict[str, Any]:
    answer = _ok(description, "ChatCompletion", _ANSWER_EXAMPLE)
    answer["content"]["text/event-stream"] = {
        "schema": ref("Event"),
        "example": _STREAM_EXAMPLE,
    }
    return answer


def _ok(description: str, schema: str, example: object) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _header_refs("x-request-id"),
        "content": {"application/json": {"schema": ref(schema), "example": example}},
    }


def _name(status: int) -> str:
    return f"Error{status}"


def _errors(*statuses: int) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in statuses}


def _error(status: int) -> dict[str, Any]:
    description, example = _ERRORS[status]
    headers = ["x-request-id", "x-should-retry"]
    headers += {401: ["WWW-Authenticate"], 405: ["Allow"], 429: ["Retry-After", *_RATE_LIMITS]}.get(
        status, ["Retry-After"] if status == 503 else []
    )
    error = dict(zip(("message", "type", "param", "code"), example, strict=True))
    return {
        "description": description,
        "headers": _header_refs(*headers),
        "content": {"application/json": {"schema": ref("Error"), "example": {"error": error}}},
    }


_RATE_LIMITS = (
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)


def _header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _headers() -> dict[str, Any]:
    def header(description: str, **schema: object) -> dict[str, Any]:
        return {"description": description, "schema": {"type": "string"} | schema}

    return {
        "x-request-id": header("The name of this request, for an administrator.")
        | {"required": True},
        "x-should-retry": header('"false" where asking again cannot help.', enum=["true", "false"]),
        "Retry-After": header("For how many seconds to wait.", type="integer", minimum=0),
        "WWW-Authenticate": header("How to send the token."),
        "Allow": header("The methods that this path knows."),
        "x-ratelimit-limit-requests": header(
            "How many requests may be made in a minute.", type="integer"
        ),
        "x-ratelimit-remaining-requests": header(
            "How many of them are left.", type="integer", minimum=0
        ),
        "x-ratelimit-reset-requests": header('When all of them are back: "12s", "1m30s".'),
    }


def _path(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/parameters/{name}"}


def _parameters() -> dict[str, Any]:
    def path(name: str, description: str, **schema: object) -> dict[str, Any]:
        return {
            "name": name,
            "in": "path",
            "required": True,
            "description": description,
            "schema": {"type": "string"} | schema,
        }

    return {
        "orgId": path("orgId", "The organization's UUID, in any case.", format="uuid"),
        "id": path("id", "The answer's id.", pattern=ANSWER_ID),
        "model": path(
            "id",
            "The model's name. One that contains slashes is sent with them, or with %2F.",
            minLength=1,
        ),
        "idempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Any name for this request. If it is sent again with the same key and "
            "body, the stored answer is returned and no model is asked again.",
            "schema": {"type": "string", "pattern": IDEMPOTENCY_KEY},
        },
    }
