# Whole facts to begin a case with: a case states what matters to it, the rest is here. `llmguard check` compares the
# names of facts in rules with those that exist; docs/reference/policy-input.md explains each.
package llmguard.example

facts := {
	"app": {
		"name": "expense-triage",
		"owner": "dana@example.com",
		"backup_owner": "lee@example.com",
		"team": "finance-ops",
		"cost_center": "4711",
		"status": "approved",
		"ticket": "GOV-118",
		"sensitivity": "internal",
		"sensitivity_rank": 1,
		"expires": "2027-12-31",
		"support": "business-hours",
		"connectors": [connector],
	},
	"preset": {
		"name": "summarise",
		"version": 2,
		"status": "approved",
		"owner": "coe@example.com",
		"redaction": "standard",
		"model": "echo-1",
		"model_class": "restricted",
		"provider": "echo",
		"provider_kind": "echo",
		"fallbacks": [],
	},
	"request": {
		"endpoint": "/v1/chat/completions",
		"stream": false,
		"tools": [],
		"images": 0,
		"audio": 0,
		"files": 0,
		"messages": 1,
		"characters": 512,
		"entities": {},
	},
	"time": {
		"zone": "UTC",
		"date": "2026-11-23",
		"weekday": "Monday",
		"hour": 12,
	},
}

connector := {
	"name": "sharepoint-read",
	"declared": true,
	"direction": "read",
	"storage": "internal",
	"encrypted": true,
	"approved": "GOV-12",
}
