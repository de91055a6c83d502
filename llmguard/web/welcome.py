"""The first page under `/console/`: that llmguard runs, and how an app sends its first request. No login, no secret."""

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>llmguard</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
pre {{ overflow-x: auto; padding: 1rem; border: 1px solid; border-radius: .4rem; }}
</style>
</head>
<body>
<main>
<h1>llmguard is running</h1>
<p>Point your app's OpenAI base URL at <code>{base_url}</code> and give it its llmguard key. What it puts into
<code>model</code> is a preset; <code>GET {base_url}/models</code> lists those it may use.</p>
<pre><code>from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key="sk-lg_…")
answer = client.chat.completions.create(
    model="summarise",
    messages=[{{"role": "user", "content": "Hello"}}],
)</code></pre>
<p>For whoever runs it: <a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>, <a href="/metrics">/metrics</a>.
Keys, quotas and traces: <code>llmguard --help</code>.</p>
</main>
</body>
</html>
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


async def welcome(request: Request) -> Response:
    """`GET /console/`."""
    base_url = escape(f"{request.url.scheme}://{request.url.netloc}/v1")
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
    return HTMLResponse(_PAGE.format(base_url=base_url), headers=headers)
