"""What is known of providers beforehand: where they are, and how the key is sent."""

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Preset:
    """How the form for a new provider begins; base_url may hold PLACEHOLDER."""

    id: str
    name: str
    base_url: str = ""
    auth: str = "bearer"  # of organizations.models.provider.Auth
    prefill: bool = False

    @property
    def is_private(self) -> bool:
        """Whether it runs in one's own network."""
        return self.base_url.startswith("http://localhost:")


PLACEHOLDER = "ORGANIZATION_ID"
OTHER = "other"

# The ports are those that each program listens on by default.
PRESETS = (
    Preset(
        "kodexa",
        "Kodexa AI gateway",
        f"https://platform.kodexa.ai/api/organizations/{PLACEHOLDER}/ai",
        "x-api-key",
    ),
    Preset("openai", "OpenAI", "https://api.openai.com/v1"),
    Preset("openrouter", "OpenRouter", "https://openrouter.ai/api/v1"),
    Preset("vllm", "vLLM", "http://localhost:8000/v1"),
    Preset("ollama", "Ollama", "http://localhost:11434/v1", "none"),
    Preset("litellm", "LiteLLM", "http://localhost:4000/v1"),
    Preset("llamacpp", "llama.cpp", "http://localhost:8080/v1", "none", prefill=True),
    Preset(OTHER, _("Other")),  # type: ignore[arg-type]  # lazy: put into words by the page
)


def find_preset(preset_id: str) -> Preset:
    """The preset with that id; for any other word the one that knows nothing."""
    return next((preset for preset in PRESETS if preset.id == preset_id), PRESETS[-1])
