"""Findings within one entry: form, kinds of value, names, and what is shown of them."""

import pytest

from llmguard.registry.check import check_source
from tests.support.registries import CONTRACT, PROFILES, a_document, as_source


def check(text, *, file="registry.yaml", accepted=None):
    source = text if isinstance(text, bytes) else text.encode()
    return check_source(source, file=file, profiles=PROFILES, accepted=accepted or {})


def findings_after(change):
    """The findings of the valid document after a change to it, as `path: message; fix`."""
    document = a_document()
    change(document)
    return [str(finding).split(": ", 1)[1] for finding in check(as_source(document)).findings]


def only_finding(change):
    found = findings_after(change)
    assert len(found) == 1, found
    return found[0]


def setter(*path_and_value):
    """Return a change of a document: all but the last argument lead to the setting, the last is its new value."""
    *path, last, value = path_and_value

    def change(document):
        for part in path:
            document = document[part]
        document[last] = value

    return change


def test_the_contracts_example_is_accepted_field_by_field():
    checked = check(CONTRACT)

    assert checked.findings == ()
    registry = checked.registry
    (preset,) = registry.presets["summarise"]
    app = registry.apps["expense-triage"]
    assert (preset.id, preset.model.name, preset.fallbacks[0].name) == ("summarise@2", "gpt-4o-mini", "echo-1")
    assert preset.parameters["temperature"].maximum == 0.3
    assert preset.response_filters == ("no_secrets",)
    assert app.quota.nano_usd_per_month == 25_000_000_000
    assert app.expires.isoformat() == "2027-03-31"
    assert registry.providers["openai"].api_key_env == "OPENAI_API_KEY"


def test_a_finding_is_one_line_with_place_path_and_fix():
    text = CONTRACT.replace("      temperature:", "      temprature:")

    (finding,) = check(text).findings

    assert str(finding) == (
        "registry.yaml:19:7: presets[0].parameters.temprature: unknown setting 'temprature'; "
        "did you mean 'temperature'?"
    )
    assert finding.value == "temprature"


def test_all_findings_come_at_once_in_the_order_of_the_file():
    text = (
        CONTRACT.replace("kind: litellm", "kind: litelm")
        .replace("status: approved            # draft, approved", "state: approved # draft, approved")
        .replace('"4711"', "4711")
        .replace("presets: [summarise]", "presets: [summarize]")
        .replace("fallbacks: [echo-1]", "fallbacks: [echo-2]")
    )

    findings = check(text).findings

    assert [(finding.line, finding.path) for finding in findings] == [
        (5, "providers.claude.kind"),
        (10, "presets[0].status"),
        (12, "presets[0].state"),
        (16, "presets[0].fallbacks[0]"),
        (32, "apps.expense-triage.cost_center"),
        (41, "apps.expense-triage.presets[0]"),
    ]
    assert all(finding.fix for finding in findings)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (setter("version", 2), "version: 2 is not possible here; write 1"),
        (setter("version", "1"), "version: '1' is not possible here; write 1"),
        (
            setter("budgets", {}),
            ("budgets: unknown setting 'budgets'; use one of: alerts, apps, connectors, departed, "),
        ),
        (
            setter("apps", "expense-triage", "cost_center", 4711),
            (
                "apps.expense-triage.cost_center: the number 4711 stands here, and a text is expected; "
                'put it in quotes: "4711"'
            ),
        ),
        (
            setter("presets", 0, "owner", True),  # noqa: FBT003 - the value, not a flag
            'presets[0].owner: true (yes or no) stands here, and a text is expected; put it in quotes: "true"',
        ),
        (
            setter("presets", 0, "version", "1"),
            (
                "presets[0].version: the text '1' stands here, and a whole number is expected; "
                "write it without quotes and separators: 1"
            ),
        ),
        (setter("presets", 0, "version", 0), "presets[0].version: 0 is out of range; it must be at least 1"),
        (
            setter("apps", "expense-triage", "quota", "tokens_per_day", 2e5),
            (
                "apps.expense-triage.quota.tokens_per_day: the number 200000.0 stands here, "
                "and a whole number is expected; write it as a whole number: 200000"
            ),
        ),
        (
            setter("apps", "expense-triage", "quota", "tokens_per_day", -1),
            "apps.expense-triage.quota.tokens_per_day: -1 is out of range; it must be greater than 0",
        ),
        (
            setter("apps", "expense-triage", "quota", "tokens_per_day", [1]),
            (
                "apps.expense-triage.quota.tokens_per_day: a list stands here, and a whole number is expected; "
                "write a whole number"
            ),
        ),
        (
            setter("apps", "expense-triage", "quota", 5),
            (
                "apps.expense-triage.quota: the number 5 stands here, and a mapping of settings is expected; "
                "write its settings below it, indented"
            ),
        ),
        (
            setter("apps", "expense-triage", "presets", "summarise"),
            (
                "apps.expense-triage.presets: the text 'summarise' stands here, and a list is expected; "
                "put it in brackets: [summarise]"
            ),
        ),
        (
            setter("apps", "expense-triage", "connectors", {"a": 1}),
            "apps.expense-triage.connectors: a mapping stands here, and a list is expected; write a list",
        ),
        (
            setter("presets", 0, "status", "aproved"),
            (
                "presets[0].status: 'aproved' is not possible here; "
                "did you mean 'approved'? (possible: draft, approved, deprecated, retired)"
            ),
        ),
        (
            setter("presets", 0, "status", "live"),
            "presets[0].status: 'live' is not possible here; use one of: approved, deprecated, draft, retired",
        ),
        (
            setter("presets", 0, "response", {"filters": ["no_pii"]}),
            "presets[0].response.filters[0]: 'no_pii' is not possible here; use one of: no_secrets",
        ),
        (
            setter("presets", 0, "owner", " "),
            ("presets[0].owner: the text is empty; write something, or remove the line if it is optional"),
        ),
        (
            setter("presets", 0, "owner", None),
            "presets[0].owner: the setting is empty; give a value, or remove the line",
        ),
        (
            setter("apps", "expense-triage", "team", None),
            "apps.expense-triage.team: the setting is empty; give a value, or remove the line",
        ),
        (
            setter("presets", 0, "parameters", "temperature", {"fixed": None}),
            "presets[0].parameters.temperature.fixed: the setting is empty; give a value, or remove the line",
        ),
        (
            setter("presets", 0, "parameters", "temperature", None),
            "presets[0].parameters.temperature: the setting is empty; write {} for any value",
        ),
        (setter("presets", None), "presets: the setting is empty; give a value, or remove the line"),
        (
            setter("presets", 0, "tools", "maybe"),
            (
                "presets[0].tools: tools are `forbidden`, `allowed`, or a list of tool "
                "names; as in tools: [lookup_order, send_mail]"
            ),
        ),
        (
            setter("presets", 0, "tools", []),
            (
                "presets[0].tools: tools are `forbidden`, `allowed`, or a list of tool "
                "names; as in tools: [lookup_order, send_mail]"
            ),
        ),
        (setter("presets", 0, "tools", ["a", "a"]), "presets[0].tools: a tool is named twice; name each tool once"),
        (
            setter("presets", 0, "successor", "summarise"),
            ("presets[0].successor: a preset with its version is expected; write name@version, as in summarise@2"),
        ),
        (setter("apps", "expense-triage", "presets", ["summarise@x"]), "apps.expense-triage.presets[0]"),
        (setter("presets", 0, "name", "sum@2"), "presets[0].name: 'sum@2' cannot be a name"),
        (setter("models", "a b", a_document()["models"]["echo-1"]), "models.a b: 'a b' cannot be a name"),
        (
            setter("models", "echo-1", "context_tokens", 10.5),
            (
                "models.echo-1.context_tokens: the number 10.5 stands here, "
                "and a whole number is expected; write a whole number"
            ),
        ),
        (
            setter("providers", "openai", "total_timeout_seconds", "60"),
            (
                "providers.openai.total_timeout_seconds: the text "
                "'60' stands here, and a number is expected; write it without quotes and separators: 60"
            ),
        ),
        (
            setter("providers", "openai", "max_retries", 99),
            ("providers.openai.max_retries: 99 is out of range; it must be at most 10"),
        ),
        (
            setter("providers", "openai", "max_retries", "many"),
            "providers.openai.max_retries: the text 'many' stands here",
        ),
    ],
)
def test_a_slip_is_found_and_explained(change, expected):
    assert any(found.startswith(expected) for found in findings_after(change)), findings_after(change)


def test_a_missing_setting_is_explained_where_its_entry_begins():
    text = CONTRACT.replace("    sensitivity: internal       # public < internal < confidential < restricted\n", "")

    (finding,) = check(text).findings

    assert (finding.line, finding.column) == (28, 3)
    assert str(finding).endswith("'sensitivity' is missing; add it (The most sensitive data that the app handles.)")


def test_a_name_that_yaml_reads_as_a_number_must_be_quoted():
    text = CONTRACT.replace("  expense-triage:\n", "  4711:\n")

    (finding,) = check(text).findings

    assert (finding.line, finding.path) == (28, "apps.4711")
    assert finding.fix == 'put it in quotes: "4711"'


def test_words_that_yaml_1_1_takes_for_booleans_stay_words():
    text = CONTRACT.replace("team: finance-ops", "team: no").replace("ticket: GOV-118", "ticket: on")

    app = check(text).registry.apps["expense-triage"]

    assert (app.team, app.ticket) == ("no", "on")


def test_a_number_with_a_leading_zero_stays_a_text():
    assert check(CONTRACT.replace('"4711"', "0471")).registry.apps["expense-triage"].cost_center == "0471"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2027-02-30", "there is no such day"),
        ("31.03.2027", "a date is expected"),
        ("2027-3-31", "a date is expected"),
        (2027, "a date is expected"),
    ],
)
def test_dates_are_days_of_the_calendar(value, words):
    assert words in only_finding(setter("apps", "expense-triage", "expires", value))


@pytest.mark.parametrize(
    ("amount", "nano_usd"),
    [(25, 25_000_000_000), (12.5, 12_500_000_000), (0.1, 100_000_000), (1e-9, 1), (0.30000000000000004, None)],
)
def test_money_is_exact_to_the_nano_dollar(amount, nano_usd):
    document = a_document()
    document["apps"]["expense-triage"]["quota"]["usd_per_month"] = amount

    checked = check(as_source(document))

    if nano_usd is None:
        assert "nine decimal places" in checked.findings[0].message
    else:
        assert checked.registry.apps["expense-triage"].quota.nano_usd_per_month == nano_usd


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("25", "write the figure alone, without quotes"),
        ("$ 25", "write the figure alone, without quotes"),
        ("a lot", "as in 25"),
        (True, "US dollars is expected"),
        (-1, "from 0 to a billion"),
        (0, "a budget of 0 would refuse every request"),
        (2e9, "from 0 to a billion"),
    ],
)
def test_budgets_that_are_no_amount_are_findings(amount, words):
    assert words in only_finding(setter("apps", "expense-triage", "quota", "usd_per_month", amount))


def test_an_infinite_parameter_is_a_finding():
    text = CONTRACT.replace("default: 0.1", "default: .inf")

    assert "cannot be infinite" in check(text).findings[0].message


def test_an_infinite_price_is_a_finding():
    text = CONTRACT.replace("output: 0.60", "output: .inf")

    assert "from 0 to a billion" in check(text).findings[0].message


@pytest.mark.parametrize(
    "origin",
    ["https://apps.example.com", "http://localhost:3000", "https://[::1]:8443", "chrome-extension://abcdef"],
)
def test_origins_as_browsers_send_them_are_accepted(origin):
    assert findings_after(setter("apps", "expense-triage", "origins", [origin])) == []


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("*", "cannot have a *"),
        ("https://*.example.com", "cannot have a *"),
        ("https://apps.example.com/", "nothing behind them"),
        ("https://apps.example.com/page", "nothing behind them"),
        ("apps.example.com", "nothing behind them"),
        ("https://apps.example.com:port", "not a URL"),
        ("https://user@apps.example.com", "no name or password"),
        ("https://Apps.example.com", "write https://apps.example.com"),
        ("https://apps.example.com:443", "write https://apps.example.com"),
    ],
)
def test_origins_that_no_browser_sends_are_findings(origin, words):
    assert words in only_finding(setter("apps", "expense-triage", "origins", [origin]))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://example.com", "not an http or https URL"),
        ("example.com/v1", "not an http or https URL"),
        ("https://", "not an http or https URL"),
        ("https://example.com:x/v1", "not a URL"),
        ("https://example.com/v1?key=1", "ends before ? and #"),
        ("https://example.com/v1/chat/completions", "adds /chat/completions itself"),
        ("https://lee@example.com/v1", "name or password"),
    ],
)
def test_base_urls_that_cannot_work_are_findings(url, words):
    assert words in only_finding(setter("providers", "openai", "base_url", url))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my key", "not the name of an environment variable"),
        ("9f8a7b6c5d", "not the name of an environment variable"),
        ("LLMGUARD_SECRET", "never sent to a provider"),
    ],
)
def test_api_key_env_names_a_variable_and_is_no_key(name, words):
    assert words in only_finding(setter("providers", "openai", "api_key_env", name))
