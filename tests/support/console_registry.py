"""A registry for the pages of the console: apps in every state, presets with versions, long names. For `month`."""

from datetime import UTC, date, datetime, timedelta

LONG_APP = "quarterly-regulatory-report-drafting-assistant-for-subsidiaries"
_TODAY = datetime.now(UTC).date()


def _in_days(days: int) -> date:
    return _TODAY + timedelta(days=days)


def a_console_registry() -> str:
    """Return the file as the CoE would write it."""
    return f"""\
version: 1
providers:
  echo: {{kind: echo}}
models:
  echo-1: {{provider: echo, target: echo-1, max_sensitivity: restricted, price: {{input: 2.5, output: 10}}}}
  echo-2: {{provider: echo, target: echo-2, max_sensitivity: internal, price: {{input: 0.15, output: 0.6}}}}
presets:
  - name: summarise
    version: 1
    status: deprecated
    sunset: {_in_days(60)}
    successor: summarise@2
    owner: coe@example.com
    why: Short summaries need little invention.
    model: echo-1
    system: You summarise for busy colleagues.
    parameters:
      temperature: {{min: 0, max: 0.7, default: 0.3}}
      max_tokens: {{max: 800, default: 400}}
  - name: summarise
    version: 2
    status: approved
    owner: coe@example.com
    why: Short summaries need little invention; version 1 still made things up at 0.7.
    model: echo-1
    fallbacks: [echo-2]
    system: You summarise for busy colleagues. Keep names, dates and amounts exactly as they are written.
    parameters:
      temperature: {{min: 0, max: 0.3, default: 0.1}}
      max_tokens: {{max: 800, default: 400}}
      top_p: {{fixed: 1}}
    response: {{filters: [no_secrets]}}
  - name: classify
    version: 1
    status: approved
    owner: coe@example.com
    why: The same ticket must land in the same queue each time, so there is no room for chance.
    model: echo-1
    parameters:
      temperature: {{fixed: 0}}
      max_tokens: {{max: 200, default: 100}}
      response_format: {{}}
    tools: allowed
  - name: draft-reply
    version: 1
    status: approved
    owner: coe@example.com
    why: A draft may vary in tone, and a person reads it before it is sent.
    model: echo-1
    parameters:
      temperature: {{min: 0.2, max: 0.9, default: 0.6}}
      max_tokens: {{min: 50, max: 1200, default: 600}}
    redaction: strict
    on_violation: clamp
  - name: translate
    version: 1
    status: draft
    owner: coe@example.com
    why: Being tried; nobody uses it yet.
    model: echo-2
    parameters: {{max_tokens: {{max: 1000}}}}
apps:
  expense-triage:
    owner: dana@example.com
    backup_owner: lee@example.com
    team: finance-ops
    cost_center: "4711"
    status: approved
    ticket: GOV-118
    sensitivity: internal
    connectors: [sharepoint-read]
    origins: [https://apps.example.com]
    expires: {_in_days(400)}
    support: business-hours
    runbook: https://wiki.example.com/expense-triage
    presets: [summarise, classify, draft-reply]
    quota: {{requests_per_minute: 60, tokens_per_day: 200000, tokens_per_month: 2000000, usd_per_month: 25}}
  hr-helpdesk:
    owner: amal@example.com
    backup_owner: dana@example.com
    team: people
    cost_center: "1200"
    status: approved
    ticket: GOV-131
    sensitivity: restricted
    connectors: []
    expires: {_in_days(12)}
    support: business-hours
    runbook: https://wiki.example.com/hr-helpdesk
    presets: [draft-reply, summarise@2]
    quota: {{requests_per_minute: 30, tokens_per_month: 4000000, usd_per_month: 6}}
  ticket-router:
    owner: sam@example.com
    team: it-service
    cost_center: "8080"
    status: sandbox
    ticket: GOV-140
    sensitivity: confidential
    expires: {_in_days(200)}
    presets: [classify]
    quota: {{requests_per_minute: 120, tokens_per_day: 40000}}
  {LONG_APP}:
    owner: maximiliane.von-und-zu@example.com
    backup_owner: lee@example.com
    team: group-regulatory-affairs
    cost_center: CC-2000-EMEA-REGULATORY
    status: approved
    ticket: GOV-150
    connectors: []
    expires: {_in_days(300)}
    support: business-hours
    runbook: https://wiki.example.com/regulatory
    sensitivity: confidential
    presets: [summarise]
    quota: {{usd_per_month: 100}}
  contract-check:
    owner: rita@example.com
    backup_owner: lee@example.com
    cost_center: "3300"
    status: approved
    ticket: GOV-152
    connectors: []
    expires: {_in_days(45)}
    support: business-hours
    runbook: https://wiki.example.com/contracts
    sensitivity: public
    presets: [summarise]
    quota: {{tokens_per_day: 100000}}
  legal-search:
    owner: lee@example.com
    cost_center: "3300"
    status: suspended
    sensitivity: restricted
    expires: {_in_days(-20)}
    presets: [summarise]
    quota: {{requests_per_minute: 10}}
  visitor-badges:
    owner: sam@example.com
    backup_owner: lee@example.com
    team: it-service
    cost_center: "8080"
    status: approved
    ticket: GOV-088
    sensitivity: internal
    connectors: []
    expires: {_in_days(-5)}
    support: business-hours
    runbook: https://wiki.example.com/visitor-badges
    presets: [classify]
    quota: {{tokens_per_day: 20000}}
  canteen-menu:
    owner: gone@example.com
    backup_owner: left@example.com
    cost_center: "6100"
    status: sandbox
    sensitivity: public
    expires: {_in_days(150)}
    presets: [summarise]
    quota: {{requests_per_minute: 10}}
  brand-new:
    owner: newcomer@example.com
    cost_center: "5500"
    status: draft
    sensitivity: public
    presets: [translate, summarise]
    quota: {{requests_per_minute: 10}}
departed: [gone@example.com, left@example.com]
overage:
  approvers: {{finance: [fin@example.com], coe: [coe@example.com]}}
  longest_days: 31
replay:
  cost_center: "9000"
  responders: {{rae@example.com: {{usd_per_month: 5}}}}
"""
