"""JSON Schemas of what the served endpoint takes and sends: the limits are those of parsing."""

from typing import Any

from completions.messages import LONGEST_NAME, MOST_MESSAGES, THOUGHT_PARTS
from completions.parsing import (
    FUNCTION_NAME,
    LONGEST_MODEL,
    LONGEST_WORD,
    MOST_CHOICES,
    MOST_STOPS,
    MOST_TOKENS,
    RESPONSE_FORMATS,
    TOOL_CHOICES,
)

Schema = dict[str, Any]

FINISH_REASONS = ("stop", "length", "content_filter", "tool_calls")
MODEL = "llama-3.1-8b"  # in the examples

# A NUL cannot be stored, so none is taken.
TEXT: Schema = {"type": "string", "pattern": "^[^\\u0000]*$"}
STRING: Schema = TEXT | {"minLength": 1}
NAME: Schema = STRING | {"maxLength": LONGEST_NAME}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_TOKENS}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def optional(schema: Schema, description: str = "") -> Schema:
    """A field that may also be null, which is the same as leaving it out."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        schema = schema | {"type": [schema["type"], "null"]}
    else:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return schema | ({"description": description} if description else {})


def number(least: float, most: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most}


def integer(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def record(required: str = "", /, **properties: Schema) -> Schema:
    """An object; `required` names the fields that must be there. Others are ignored."""
    schema: Schema = {"type": "object", "properties": properties}
    return schema | {"required": required.split()} if required else schema


def array(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items} | limits


FUNCTION_CALL = record("name arguments", name=NAME, arguments=TEXT)
TOOL_CALL = record(
    "id function", id=NAME, type=optional({"const": "function"}), function=ref("FunctionCall")
)
TEXT_PART = {
    "anyOf": [
        record("type text", type=one_of("text", "input_text", "output_text"), text=TEXT),
        record("type refusal", type=one_of("refusal"), refusal=TEXT),
    ],
    "description": "Images, audio and files are not supported: 400, code unsupported_content.",
}
THOUGHT = record("type", type=one_of(*THOUGHT_PARTS)) | {"description": "Is not read."}
CONTENT = {"anyOf": [TEXT, array(ref("TextPart"), minItems=1)]}

_AUTHOR = optional(NAME, "Who wrote it, where several people share a role.")
MESSAGE = {
    "anyOf": [
        record(
            "role content",
            role=one_of("system", "developer", "user"),
            content=ref("Content"),
            name=_AUTHOR,
        ),
        record(
            "role",
            role=one_of("assistant"),
            content=optional(
                {"anyOf": [TEXT, array({"anyOf": [ref("TextPart"), THOUGHT]})]},
                "May be null beside tool_calls.",
            ),
            name=_AUTHOR,
            tool_calls=optional(array(ref("ToolCall"))),
        ),
        record(
            "role content tool_call_id",
            role=one_of("tool"),
            content=ref("Content"),
            name=_AUTHOR,
            tool_call_id=NAME | {"description": "Which of the tool_calls this is the result of."},
        ),
        record("role content name", role=one_of("function"), content=ref("Content"), name=NAME)
        | {"deprecated": True},
    ],
}
FUNCTION_NAMED = record("name", name={"type": "string", "pattern": FUNCTION_NAME})
TOOL = record(
    "type function",
    type={"const": "function"},
    function=record(
        "name",
        name={"type": "string", "pattern": FUNCTION_NAME},
        description=optional(TEXT),
        parameters=optional({"type": "object"}, "A JSON Schema of the arguments."),
        strict=optional({"type": "boolean"}),
    ),
)
TOOL_CHOICE = {
    "anyOf": [
        one_of(*TOOL_CHOICES),
        record("type function", type={"const": "function"}, function=FUNCTION_NAMED),
        record(
            "type allowed_tools",
            type={"const": "allowed_tools"},
            allowed_tools={"type": "object"},
        ),
    ]
}
RESPONSE_FORMAT = {
    "anyOf": [
        record("type", type=one_of(*(name for name in RESPONSE_FORMATS if name != "json_schema"))),
        record(
            "type json_schema",
            type=one_of("json_schema"),
            json_schema=record("name", name=STRING, schema=optional({"type": "object"})),
        ),
    ]
}
REQUEST = record(
    "model messages",
    model=STRING
    | {"maxLength": LONGEST_MODEL, "description": "One of those that GET …/ai/models lists."},
    messages=array(ref("Message"), minItems=1, maxItems=MOST_MESSAGES),
    max_tokens=optional(
        integer(1, MOST_TOKENS), "The most tokens that each answer may have, reasoning included."
    ),
    max_completion_tokens=optional(
        integer(1, MOST_TOKENS), "The newer name of max_tokens; it counts if both are given."
    ),
    n=optional(integer(1, MOST_CHOICES), "How many answers to give to the same messages."),
    stop=optional(
        {"anyOf": [STRING, array(STRING, maxItems=MOST_STOPS)]},
        "An answer ends before the first of these; they are no part of it.",
    ),
    stream=optional({"type": "boolean"}, "Send the answer as server-sent events while it grows."),
    stream_options=optional(
        record(
            include_usage=optional(
                {"type": "boolean"},
                "One more event before the end has the usage, and no choices.",
            )
        )
    ),
    temperature=optional(
        number(0, 2), "Higher values make answers more varied, 0 the likeliest one."
    ),
    top_p=optional(
        number(0, 1), "Choose among the likeliest tokens whose probabilities add up to this."
    ),
    store=optional(
        {"type": "boolean"},
        "false: keep no text of this call, only its metadata, where the organization allows that.",
    ),
    tools=optional(array(ref("Tool")), "Functions that the model may call."),
    tool_choice=optional(ref("ToolChoice")),
    parallel_tool_calls=optional({"type": "boolean"}),
    response_format=optional(ref("ResponseFormat")),
    seed=optional(integer(-(2**63), 2**63 - 1)),
    presence_penalty=optional(number(-2, 2)),
    frequency_penalty=optional(number(-2, 2)),
    logit_bias=optional(
        {"type": "object", "additionalProperties": optional(number(-100, 100))},
        "Token ids, and by how much each is made likelier.",
    ),
    reasoning_effort=optional(
        STRING | {"maxLength": LONGEST_WORD}, 'Such as "low", "medium" or "high".'
    ),
    verbosity=optional(STRING | {"maxLength": LONGEST_WORD}),
) | {
    "description": "Unknown fields are ignored; null is the same as leaving a field out. What a "
    "provider does not know (tools, response_format, seed, …) it may refuse: 400.",
}

USAGE = record(
    "prompt_tokens completion_tokens total_tokens",
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    total_tokens={"type": "integer", "minimum": 0},
) | {"description": "The prompt counted once, and all choices together."}
_FINISH = one_of(*FINISH_REASONS)
_ID: Schema = {"type": "string", "description": "The same for the whole answer."}
_CREATED: Schema = {"type": "integer", "description": "Unix time in seconds."}
_TEXT: Schema = {"type": "string"}
_FUNCTION: Schema = {"const": "function"}
_CALLED = record("name arguments", name=_TEXT, arguments=_TEXT)  # a model may name anything
_REASONING: Schema = {"type": "string", "description": "What the model thought first, if told."}
COMPLETION = record(
    "id object created model choices usage",
    id=_ID,
    object={"const": "chat.completion"},
    created=_CREATED,
    model=_TEXT,
    choices=array(
        record(
            "index message logprobs finish_reason",
            index={"type": "integer", "minimum": 0},
            message=record(
                "role content refusal",
                role={"const": "assistant"},
                content={
                    "type": ["string", "null"],
                    "description": "null if the model only called tools.",
                },
                refusal={"type": "null"},
                reasoning_content=_REASONING,
                tool_calls=array(
                    record("id type function", id=_TEXT, type=_FUNCTION, function=_CALLED),
                    minItems=1,
                ),
            ),
            logprobs={"type": "null"},
            finish_reason=_FINISH,
        ),
        minItems=1,
    ),
    usage=ref("Usage"),
)
CHUNK = record(
    "id object created model choices",
    id=_ID,
    object={"const": "chat.completion.chunk"},
    created=_CREATED,
    model=_TEXT,
    choices=array(
        record(
            "index delta logprobs finish_reason",
            index={"type": "integer", "minimum": 0},
            delta=record(
                role={"const": "assistant"},
                content=_TEXT,
                reasoning_content=_REASONING,
                tool_calls=array(
                    record(
                        "index function",
                        index={"type": "integer", "minimum": 0},
                        id=_TEXT,
                        type=_FUNCTION,
                        function=record("arguments", name=_TEXT, arguments=_TEXT),
                    )
                ),
            ),
            logprobs={"type": "null"},
            finish_reason=optional(_FINISH),
        )
    ),
    usage=optional(ref("Usage")),
)
ERROR = record(
    "error",
    error=record(
        "message type param code",
        message={"type": "string", "description": "What is wrong, for people."},
        type=_TEXT,
        param={"type": ["string", "null"], "description": 'The field: "messages.0.content".'},
        code={"type": ["string", "null"]},
    ),
)
# Of an event stream, `schema` is read as that of one event: OpenAPI 3.2 says so (itemSchema), for
# 3.1 there is no rule but this custom.
EVENT = record(
    "data",
    data={
        "anyOf": [
            {"const": "[DONE]"},
            {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"anyOf": [ref("ChatCompletionChunk"), ref("Error")]},
            },
        ]
    },
) | {"description": "One event; comments between them only keep the connection open."}
MODEL_ENTRY = record(
    "id object created owned_by",
    id=_TEXT,
    object={"const": "model"},
    created=_CREATED,
    owned_by=_TEXT,
)
MODEL_LIST = record("object data", object={"const": "list"}, data=array(ref("Model")))

SCHEMAS = {
    "ChatCompletionRequest": REQUEST,
    "ChatCompletion": COMPLETION,
    "ChatCompletionChunk": CHUNK,
    "Content": CONTENT,
    "Error": ERROR,
    "Event": EVENT,
    "FunctionCall": FUNCTION_CALL,
    "Message": MESSAGE,
    "Model": MODEL_ENTRY,
    "ModelList": MODEL_LIST,
    "ResponseFormat": RESPONSE_FORMAT,
    "TextPart": TEXT_PART,
    "Tool": TOOL,
    "ToolCall": TOOL_CALL,
    "ToolChoice": TOOL_CHOICE,
    "Usage": USAGE,
}
