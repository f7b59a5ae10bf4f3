"""Says where a provider is and how to prove who asks; never shows the key."""

import re
from dataclasses import dataclass, field
from typing import Literal

from completions.addresses import split_url
from completions.errors import CompletionError, ProviderMisconfigured

PATH = "/chat/completions"
REDACTED = "[key]"
# A key shorter than that would be found in ordinary words.
SHORTEST_KEY_CHARS = 4
# Azure's address of one model; they are listed above it.
DEPLOYMENT = re.compile(r"/deployments/[^/]+\Z")


AuthStyle = Literal["x-api-key", "bearer", "none"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is: base_url with or without "/chat/completions", and the key for it.

    close_connections asks for a new connection each time, for servers whose kept-alive
    connections break; one_choice, for a call to each of several choices, of which the server would
    count only one (both the built-in model's). Without allow_private, only addresses of the public
    internet are connected to: for an address that somebody typed whom the own network need not
    trust (completions.addresses says what is refused in either case).
    """

    base_url: str
    key: str = field(repr=False)
    auth: AuthStyle
    close_connections: bool = False
    one_choice: bool = False
    allow_private: bool = True

    def completions_url(self) -> str:
        """Return the url to post to; a query, as in Azure's addresses, stays at its end."""
        return self._url(PATH)

    def models_url(self) -> str:
        """Return the url that lists the models."""
        return self._url("/models")

    def _url(self, path: str) -> str:
        parts = split_url(self.base_url)
        base = parts.path.rstrip("/").removesuffix(PATH)
        if path != PATH:
            base = DEPLOYMENT.sub("", base)
        return parts._replace(path=base + path, fragment="").geturl()

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            # Compression would hold deltas back, and let 200 KB unfold to 200 MB.
            "Accept-Encoding": "identity",
            "User-Agent": "chatsite",
        }
        if self.close_connections:
            headers["Connection"] = "close"
        if self.auth == "none" or not self.key:
            return headers
        # Checked here because the libraries' own errors would quote it.
        if not all("!" <= char <= "~" for char in self.key):
            raise ProviderMisconfigured("The provider's key has characters that no key can have.")
        if self.auth == "bearer":
            return headers | {"Authorization": f"Bearer {self.key}"}
        return headers | {"x-api-key": self.key}

    def redact(self, error: CompletionError) -> None:
        """Take the key out of the provider's words: some repeat what they were sent."""
        if len(self.key) < SHORTEST_KEY_CHARS:
            return
        error.param = error.param.replace(self.key, REDACTED)
        words = error.detail.replace(self.key, REDACTED)
        shown = words.removesuffix("…")
        for size in range(len(self.key) - 1, SHORTEST_KEY_CHARS - 1, -1):
            if shown.endswith(self.key[:size]):  # cut off in the middle of the key
                words = shown[:-size] + REDACTED
                break
        error.detail = words
