"""For people who cannot program: connectors that work when they are imported, and a doctor who says what is wrong."""

import json

import pytest


def exported(gateway, tool, *words):
    base = gateway.base_url
    done = gateway.run("connector", "export", "--for", tool, "helpdesk", "--preset", "chat", "--base-url", base, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_request_of_the_exported_openapi_document_is_answered(gateway, key):
    document = json.loads(exported(gateway, "openapi"))

    [(path, operations)] = document["paths"].items()
    body = operations["post"]["requestBody"]["content"]["application/json"]["example"]
    url = document["servers"][0]["url"].removeprefix(gateway.base_url.removesuffix("/v1")) + path
    status, headers, answer = gateway.send("POST", url, json.dumps(body).encode(), key)

    assert (status, headers["x-llmguard-preset"]) == (200, "chat@1")
    assert json.loads(answer)["choices"][0]["message"]["content"]


def test_every_request_of_the_exported_postman_collection_is_answered(gateway, key):
    collection = json.loads(exported(gateway, "postman"))

    variables = {one["key"]: one["value"] for one in collection["variable"]} | {"apiKey": key}
    for item in collection["item"]:
        request = item["request"]
        url = request["url"]["raw"].replace("{{baseUrl}}", variables["baseUrl"])
        body = request["body"]["raw"].encode() if "body" in request else None
        token = collection["auth"]["bearer"][0]["value"].replace("{{apiKey}}", variables["apiKey"])
        path = url.removeprefix(gateway.base_url.removesuffix("/v1"))
        assert gateway.send(request["method"], path, body, token)[0] == 200, item["name"]


@pytest.mark.parametrize("tool", ["power-platform", "n8n"])
def test_exports_are_the_same_bytes_each_time_and_go_into_files(gateway, tmp_path, tool):
    printed = exported(gateway, tool)

    exported(gateway, tool, "--output", str(tmp_path / "out"))

    written = sorted(path for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")] if path.is_file())
    if tool == "n8n":
        assert [path.read_text() for path in written] == [printed]
    else:
        assert {path.name: json.loads(path.read_text()) for path in written} == json.loads(printed)


def test_doctor_reads_a_key_from_standard_input_and_never_prints_it(gateway, key):
    good = gateway.run("doctor", "--key", "--preset", "chat", said=f'"{key}"\n')
    cut = gateway.run("doctor", "--json", "--key", said=key[:30])

    assert (good.returncode, cut.returncode) == (0, 1), good.stderr
    assert "a valid key of the app helpdesk" in good.stdout
    assert json.loads(cut.stdout)["problem"].startswith("The key was cut")
    assert key[20:] not in good.stdout + good.stderr + cut.stdout + cut.stderr


def test_key_as_an_argument_is_warned_of(gateway, key):
    done = gateway.run("doctor", "--key", key, "--preset", "nothing-like-it")

    assert done.returncode == 1
    assert "stays in the shell's history" in done.stderr
    assert "There is no preset" in done.stdout


def test_doctor_explains_a_refusal_by_its_trace_id(gateway, key):
    body = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "temperature": 1.9}
    _, _, refused = gateway.send("POST", "/v1/chat/completions", json.dumps(body).encode(), key)
    trace_id = json.loads(refused)["error"]["trace_id"]

    done = gateway.run("doctor", "--error", said=f"my tool says {trace_id}")

    assert done.returncode == 1
    assert "from 0 to 0.5" in done.stdout


def test_doctor_checks_the_installation_and_the_running_server(gateway):
    port = gateway.base_url.rsplit(":", 1)[1].removesuffix("/v1")

    done = gateway.run("doctor", "--json", "--port", port)

    report = json.loads(done.stdout)
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states["server"] == states["data folder"] == states["state.db"] == states["registry and redaction"] == "ok"
    assert states["provider keys"] == "ok"
    assert (done.returncode, report["ok"]) == (0, True), report
