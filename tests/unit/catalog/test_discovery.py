"""Who uses models, as logs and exports show it: drafts, counts and days; never a secret."""

from datetime import date

import pytest

from llmguard.catalog.discovery import discover, draft_row
from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, as_source

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz1234"
LINE = '10.0.0.1 - {user} [26/Nov/2026:10:00:00 +0000] "{request} HTTP/1.1" 200 512 "{referer}" "{agent}"'
CHAT = "POST /v1/chat/completions"


def line(user="-", request=CHAT, referer="-", agent="-"):
    return LINE.format(user=user, request=request, referer=referer, agent=agent)


def names(text, known=()):
    return {one.name: one.requests for one in discover([("log", text)], known)[0]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (line(user="invoice-bot"), {"invoice-bot": 1}),
        (line(referer=f"https://claims.example.com/a?key={KEY}"), {"claims-example-com": 1}),
        (line(agent="MailBot/2.1 (+https://example.com)"), {"mailbot": 1}),
        (line(user="x", request="GET /index.html"), {}),
        (line(), {}),
        (line(user=KEY), {}),
        (line(user="a") + "\n" + line(user="a") + "\nbroken\n" + line(user="b"), {"a": 2, "b": 1}),
        ('{"app": "mailer", "path": "/v1/responses", "authorization": "Bearer x"}\nno json\n[1]', {"mailer": 1}),
        ('{"app": "site", "path": "/index.html"}', {}),
        ("date,project_name,model,num_model_requests\n2026-11-20,Legal Search,gpt-4o,31\n,,,\n", {"legal-search": 31}),
        ('[{"project_id": "proj_hr", "n_requests": "7"}, {"api_key_id": "' + KEY + '"}]', {"proj-hr": 7}),
        ("", {}),
        ("\ufeffuser_email\nDana@example.com\n", {"dana": 1}),
    ],
    ids=[
        *("user", "referer", "program", "other path", "nobody", "a key for a name", "several", "json lines"),
        *("json of a page", "csv", "json", "empty", "with a mark"),
    ],
)
def test_whoever_is_seen_is_named_and_counted(text, found):
    assert names(text) == found


def test_openais_usage_export_has_its_days_on_the_buckets():
    bucket = (
        '{"object": "bucket", "start_time": 1795651200, "results": '
        '[{"num_model_requests": 3, "project_id": "proj_hr", "model": "gpt-4o-mini"}]}'
    )

    [seen], unread = discover([("usage.json", f'{{"object": "page", "data": [{bucket}, {bucket}]}}')], ())

    assert (seen.requests, seen.first, seen.last, unread) == (6, date(2026, 11, 26), date(2026, 11, 26), 0)
    assert (seen.models, seen.sources) == ({"gpt-4o-mini"}, {"usage.json"})


def test_known_apps_are_left_out_and_the_busiest_come_first():
    text = "\n".join([line(user="a"), line(user="b"), line(user="b"), line(user="known")])

    assert list(names(text, known={"known"})) == ["b", "a"]


def test_no_secret_comes_through_anywhere():
    text = f'{{"app": "{KEY}"}}\n{{"app": "fine", "model": "{KEY}", "api_key": "{KEY}"}}\n{line(agent=KEY)}'

    found, _ = discover([("log", text)], ())

    assert [one.name for one in found] == ["fine"]
    assert KEY not in repr(found)


def test_drafts_are_accepted_and_may_do_nothing():
    found, _ = discover([("log", line(user="invoice-bot") + "\n" + line(user="dana@example.com"))], ())
    document = a_document()
    document["apps"] |= {one.name: draft_row(one) for one in found}

    registry = check_source(as_source(document), file="r", profiles=PROFILES, accepted={}).registry

    assert (registry.apps["invoice-bot"].status, registry.apps["invoice-bot"].has_owner) == ("draft", False)
    assert registry.apps["dana"].owner == "dana@example.com"
    assert registry.apps["dana"].presets == ()
