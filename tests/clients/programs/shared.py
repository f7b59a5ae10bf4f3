"""What the Python programs share: whom to ask, what to ask for, and how they tell what they saw."""

import json
import os
from typing import Any

BASE_URL, API_KEY, MODEL = (os.environ[name] for name in ("BASE_URL", "API_KEY", "MODEL"))
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def scene(name: str) -> list[Any]:
    """The messages that make the provider play it."""
    return [{"role": "user", "content": name}]


def tell(seen: dict[str, Any]) -> None:
    print(json.dumps(seen))
