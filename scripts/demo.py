"""One governed request through a real server with the official OpenAI client; prints its nine steps."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from openai import OpenAI

ROOT = Path(__file__).resolve().parents[1]
LLMGUARD = ROOT / ".venv" / "bin" / "llmguard"
LETTER = (
    "Dear team, my name is Anna Schmidt. Please refund invoice 4711 to IBAN DE89 3704 0044 0532 0130 00, "
    "and write to anna.schmidt@example.com or call +49 30 901820 when it is done."
)
EXPLAINED = {
    "authenticate": "the key belongs to the app {app} (owner {owner}, cost centre {cost_center})",
    "resolve": "`model` names the preset {preset}@{preset_version}",
    "decide": "allowed by the preset and the catalog (registry {registry_digest:.12})",
    "redact": "hidden before anything leaves: {entities}",
    "reserve": "held against the quota before the call",
    "call": "{model} at {provider} answered; it saw:\n{request}",
    "settle": "{input_tokens} tokens in, {output_tokens} out, {cost_usd} USD at {price_version}",
    "restore": "the app got back:\n{answer}",
    "trace": "kept, redacted, as {trace_id}",
}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        places = [f"--registry={ROOT / 'registry.yaml'}", f"--redaction={ROOT / 'redaction'}", f"--data={folder}/data"]
        command = [LLMGUARD, "serve", "--port", "0", "--demo-key", *places]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        try:
            base_url, key, model = read_banner(server)
            answer, trace_id = ask(base_url, key, model)
            show(trace_of(trace_id, places), answer)
        finally:
            server.terminate()
            server.wait(60)
            server.stdout.close()
    return 0


def read_banner(server: subprocess.Popen) -> tuple[str, str, str]:
    found: dict[str, str] = {}
    for line in server.stdout:
        for name, pattern in (
            ("url", r"base URL\s+(\S+)"),
            ("key", r"key\s+(sk-lg_\S+)"),
            ("model", r'"model": "([^"]+)"'),
        ):
            if match := re.search(pattern, line):
                found[name] = match[1]
        if line.startswith("Ctrl-C"):
            return found["url"], found["key"], found["model"]
    sys.exit("The server did not start; its messages are above.")


def ask(base_url: str, key: str, model: str) -> tuple[str, str]:
    with OpenAI(base_url=base_url, api_key=key) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": LETTER}]
        )
    return raw.parse().choices[0].message.content, raw.headers["x-llmguard-trace-id"]


def trace_of(trace_id: str, places: list[str]) -> dict:
    command = [LLMGUARD, "traces", "show", trace_id, "--json", *places]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def show(trace: dict, answer: str) -> None:
    facts = trace | {
        "answer": indented(answer),
        "request": indented(trace["request"]["messages"][-1]["content"]),
        "entities": ", ".join(f"{count} {kind}" for kind, count in trace["entities"].items()),
    }
    print(f"An app asked, with the official OpenAI client:\n{indented(LETTER)}\n")
    ended = 0
    for number, (step, words) in enumerate(EXPLAINED.items(), start=1):
        at = trace["steps"].get(step)  # restoring comes after the trace is written, so its time is not in it
        took = "" if at is None else f"{at - ended} µs"
        ended = ended if at is None else at
        print(f"{number}. {step:<13}{took:>10}  {words.format_map(facts)}")


def indented(text: str) -> str:
    return f"       {text}"


if __name__ == "__main__":
    sys.exit(main())
