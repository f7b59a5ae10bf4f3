"""Examples of calling the served endpoint, for people to copy. Tests run them as they stand."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

EXPORT = """\
```bash
export CHATSITE_TOKEN='cs_…'
```
"""
CURL = """\
curl --request POST \\
  --url BASE_URL/chat/completions \\
  --header 'Content-Type: application/json' \\
  --header "x-api-key: $CHATSITE_TOKEN" \\
  --data '{
    "model": "MODEL",
    "messages": [{"role": "user", "content": "Say hello."}]
  }'
"""
STREAMED = """\
curl --no-buffer BASE_URL/chat/completions \\
  --header 'Content-Type: application/json' \\
  --header "x-api-key: $CHATSITE_TOKEN" \\
  --data '{
    "model": "MODEL",
    "messages": [{"role": "user", "content": "Say hello."}],
    "stream": true
  }'
"""
PYTHON = """\
import os

from openai import OpenAI

client = OpenAI(
    base_url="BASE_URL",
    api_key=os.environ["CHATSITE_TOKEN"],
)
stream = client.chat.completions.create(
    model="MODEL",
    messages=[{"role": "user", "content": "Say hello."}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""
JAVASCRIPT = """\
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "BASE_URL",
  apiKey: process.env.CHATSITE_TOKEN,
});
const stream = await client.chat.completions.create({
  model: "MODEL",
  messages: [{ role: "user", content: "Say hello." }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One way to call it; the token is read from the environment, so that none is in a file."""

    title: str
    lead: Promise | str
    language: str
    source: str

    def code(self, base_url: str, model: str) -> str:
        return self.source.replace("BASE_URL", base_url).replace("MODEL", model)

    def markdown(self, base_url: str, model: str) -> str:
        return f"```{self.language}\n{self.code(base_url, model)}```\n"


EXAMPLES = (
    Example("curl", _("Nothing to install."), "bash", CURL),
    Example("curl, streamed", _("Each event as it comes, the last is [DONE]."), "bash", STREAMED),
    Example("Python", _("With OpenAI’s own library: pip install openai."), "python", PYTHON),
    Example("JavaScript", _("With OpenAI’s own library: npm install openai."), "js", JAVASCRIPT),
)
