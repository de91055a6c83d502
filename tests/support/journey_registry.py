"""Registries for journeys: one app or several, on the built-in echo provider and on a test's own server."""

from textwrap import dedent


def a_registry(
    provider_url: str = "http://127.0.0.1:9/v1",
    *,
    quota: str = "{requests_per_minute: 100000}",
    patience_seconds: int = 2,
) -> str:
    """Return a registry with the app `helpdesk` and presets on `server` (the test's provider) and `echo`."""
    return dedent(f"""
        version: 1
        providers:
          echo:   {{kind: echo}}
          server:
            kind: openai
            base_url: "{provider_url}"
            api_key_env: PROVIDER_KEY
            first_byte_timeout_seconds: {patience_seconds}
            circuit: {{consecutive_failures: 1000000, minimum_requests: 1000000}}
        models:
          echo-1:   {{provider: echo, target: echo-1, max_sensitivity: restricted, price: {{input: 0.15, output: 0.60}}}}
          remote:   {{provider: server, target: remote-1, max_sensitivity: confidential, price: {{input: 1, output: 4}}}}
          by-char:  {{provider: server, target: remote-1+chars=1, max_sensitivity: confidential, price: {{input: 1, output: 4}}}}
          tools:    {{provider: server, target: remote-1+chars=1+tools, max_sensitivity: confidential, price: {{input: 1, output: 4}}}}
          vectors:  {{provider: server, target: text-embedding-3-small, mode: embedding, max_sensitivity: confidential, price: {{input: 1, output: 0}}}}
          public:   {{provider: echo, target: echo-1, max_sensitivity: public, price: {{input: 0, output: 0}}}}
          small:    {{provider: echo, target: echo-1, max_sensitivity: restricted, context_tokens: 50, price: {{input: 0, output: 0}}}}
        presets:
          - name: chat
            version: 1
            status: approved
            owner: coe@example.com
            why: A test needs an answer.
            model: remote
            system: You answer briefly.
            parameters:
              temperature: {{min: 0, max: 0.5, default: 0.2}}
              max_tokens: {{max: 300, default: 200}}
            redaction: standard
          - name: by-char
            version: 1
            status: approved
            owner: coe@example.com
            why: Each character comes alone.
            model: by-char
            parameters: {{max_tokens: {{max: 300}}}}
            redaction: standard
          - name: tools
            version: 1
            status: approved
            owner: coe@example.com
            why: A test calls tools.
            model: tools
            tools: allowed
            parameters: {{max_tokens: {{max: 300}}}}
            redaction: standard
          - name: forms
            version: 1
            status: approved
            owner: coe@example.com
            why: Another program reads the answer.
            model: remote
            images: allowed
            parameters: {{max_tokens: {{max: 300}}, response_format: {{}}, logprobs: {{}}, top_logprobs: {{}}}}
            extra_parameters: [brand_new]
            redaction: standard
          - name: agent
            version: 1
            status: approved
            owner: coe@example.com
            why: An agent calls tools until it knows, and answers in a form.
            model: remote
            tools: allowed
            parameters: {{max_tokens: {{max: 300}}, response_format: {{}}}}
            redaction: standard
          - name: vectors
            version: 1
            status: approved
            owner: coe@example.com
            why: Search needs vectors.
            model: vectors
            parameters: {{dimensions: {{max: 512}}}}
            redaction: standard
          - name: clamped
            version: 1
            status: approved
            owner: coe@example.com
            why: Out of range becomes in range.
            model: echo-1
            parameters: {{temperature: {{min: 0, max: 0.5}}, max_tokens: {{max: 100}}}}
            redaction: standard
            on_violation: clamp
          - name: echo
            version: 1
            status: approved
            owner: coe@example.com
            why: Nothing leaves the machine.
            model: echo-1
            parameters: {{max_tokens: {{max: 100}}}}
            redaction: standard
          - name: strict
            version: 1
            status: approved
            owner: coe@example.com
            why: Secrets never leave.
            model: echo-1
            parameters: {{max_tokens: {{max: 100}}}}
            redaction: strict
          - name: small
            version: 1
            status: approved
            owner: coe@example.com
            why: Reads little.
            model: small
            parameters: {{max_tokens: {{max: 10}}}}
            redaction: minimal
          - name: public
            version: 1
            status: approved
            owner: coe@example.com
            why: For public data.
            model: public
            parameters: {{max_tokens: {{max: 100}}}}
            redaction: standard
          - name: old
            version: 1
            status: retired
            successor: echo@1
            owner: coe@example.com
            why: Was good once.
            model: echo-1
            parameters: {{max_tokens: {{max: 100}}}}
            redaction: standard
          - name: secret
            version: 1
            status: approved
            owner: coe@example.com
            why: For another app.
            model: echo-1
            parameters: {{max_tokens: {{max: 100}}}}
            redaction: standard
        apps:
          helpdesk:
            owner: dana@example.com
            backup_owner: kim@example.com
            ticket: GOV-1
            connectors: []
            support: business-hours
            runbook: https://wiki.example.com/apps
            cost_center: "4711"
            status: approved
            expires: 2099-12-31
            sensitivity: internal
            origins: [https://apps.example.com]
            presets: [chat, by-char, tools, forms, agent, vectors, clamped, echo, strict, small, public, old]
            quota: {quota}
          other:
            owner: lee@example.com
            backup_owner: kim@example.com
            ticket: GOV-1
            connectors: []
            support: business-hours
            runbook: https://wiki.example.com/apps
            cost_center: "4712"
            status: approved
            expires: 2099-12-31
            sensitivity: internal
            presets: [secret, echo]
            quota: {{requests_per_minute: 2, tokens_per_day: 1000}}
          builder:
            owner: lee@example.com
            cost_center: "4712"
            sensitivity: internal
            connectors: [wiki-write]
            presets: [echo, chat, strict]
            quota: {{requests_per_minute: 1000}}
          stopped:
            owner: lee@example.com
            backup_owner: kim@example.com
            ticket: GOV-1
            connectors: []
            support: business-hours
            runbook: https://wiki.example.com/apps
            cost_center: "4712"
            status: suspended
            sensitivity: internal
            presets: [echo]
            quota: {{requests_per_minute: 10}}
          expired:
            owner: lee@example.com
            backup_owner: kim@example.com
            ticket: GOV-1
            connectors: []
            support: business-hours
            runbook: https://wiki.example.com/apps
            cost_center: "4712"
            status: approved
            sensitivity: internal
            expires: 2026-01-31
            presets: [echo]
            quota: {{requests_per_minute: 10}}
        replay:
          cost_center: "9000"
          responders:
            ana@example.com: {{tokens_per_day: 1000000, usd_per_month: 5}}
            ben@example.com: {{requests_per_minute: 2}}
    """)
