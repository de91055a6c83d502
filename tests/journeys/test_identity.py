"""People and apps of the company: signed in at a real OpenID provider, keys from the console, tokens in their place."""

import json
from urllib.parse import urlencode

import openai
import pytest

from tests.support.openid_process import FORM, send, sign_in

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
APP_KEY = "urn:llmguard:params:oauth:token-type:app-key"
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def site(gateway):
    return gateway.base_url.removesuffix("/v1")


def exchange(site, subject, kind, **more):
    form = {"grant_type": GRANT, "subject_token": subject, "subject_token_type": kind} | more
    status, _, body = send(f"{site}/auth/token", "POST", urlencode(form), FORM)
    return status, json.loads(body)


def answer_with(gateway, token):
    with openai.OpenAI(base_url=gateway.base_url, api_key=token, max_retries=0) as client:
        return client.chat.completions.create(model="echo", messages=HELLO).choices[0].message.content


def test_operator_signs_in_with_the_companys_account_and_issues_a_key_that_works(gateway, site, identity_provider):
    session, csrf = sign_in(site, identity_provider, "coe-1")
    headers = {"cookie": session, "x-csrf-token": csrf}

    status, _, body = send(f"{site}/admin/api/apps/helpdesk/keys", "POST", '{"ttl_days": 1}', headers)
    issued = json.loads(body)
    gateway.wait_until(lambda: gateway.get("/v1/me", issued["key"])[0] == 200)

    assert status == 201
    assert answer_with(gateway, issued["key"])
    assert gateway.ask("keys", "explain", issued["key_id"])["issued_by"] == "coe@example.com"
    assert send(f"{site}/console/sign-out", "POST", urlencode({"csrf": csrf}), FORM | {"cookie": session})[0] == 303
    assert send(f"{site}/admin/api/me", headers={"cookie": session})[0] == 401


def test_app_calls_with_a_token_and_loses_it_with_its_key(gateway, site):
    issued = gateway.ask("keys", "issue", "helpdesk")
    gateway.wait_until(lambda: gateway.get("/v1/me", issued["key"])[0] == 200)
    status, given = exchange(site, issued["key"], APP_KEY, scope="preset:echo")
    assert (status, given["scope"]) == (200, "preset:echo")
    assert answer_with(gateway, given["access_token"])

    gateway.run("keys", "revoke", issued["key_id"])
    gateway.wait_until(lambda: gateway.get("/v1/me", issued["key"])[0] == 401)

    with pytest.raises(openai.AuthenticationError) as caught:
        answer_with(gateway, given["access_token"])
    assert caught.value.code == "key_revoked"


def test_token_of_the_companys_provider_stands_for_the_app_that_the_registry_names(gateway, site, identity_provider):
    token = identity_provider.id_token("robot-1", "travel-robot")
    _, given = exchange(site, token, JWT)
    me = json.loads(gateway.get("/v1/me", given["access_token"])[2])

    assert (me["app"]["name"], me["key_id"]) == ("helpdesk", "idp:company")
    assert answer_with(gateway, given["access_token"])
    assert exchange(site, identity_provider.id_token("robot-1", "another-client"), JWT)[1]["code"] == "wrong_audience"
    assert exchange(site, identity_provider.id_token("coe-1", "travel-robot"), JWT)[1]["code"] == "app_unknown"
    with pytest.raises(openai.AuthenticationError):
        answer_with(gateway, token)  # the provider's own token is no key
