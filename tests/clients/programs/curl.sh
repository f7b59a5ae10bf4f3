#!/usr/bin/env bash
# As the published page prints it, whole and streamed; prints {"whole": …, "streamed": "…"}.
set -euo pipefail

ask() {
  curl --silent --show-error --request POST \
    --url "$BASE_URL/chat/completions" \
    --header 'Content-Type: application/json' \
    --header "x-api-key: $API_KEY" \
    --data '{
  "messages": [
    {
      "role": "system",
      "content": "plain"
    }
  ],
  "model": "'"$MODEL"'",
  "max_tokens": 123,
  "n": 1,
  "stop": [
    "<string>"
  ],
  "stream": '"$1"',
  "temperature": 1,
  "top_p": 0.5
}'
}

ask false | python3 -c '
import json, sys
print(json.dumps({"whole": json.load(sys.stdin), "streamed": sys.argv[1]}))
' "$(ask true)"
