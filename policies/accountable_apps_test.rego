package llmguard.policies.accountable_apps_test

import data.llmguard.example
import data.llmguard.policies.accountable_apps

decided(changes) := found if {
	facts := object.union(example.facts, {"app": changes})
	found := accountable_apps.decisions with input as facts
}

missing(changes) := {decision.fix | some decision in decided(changes)}

no_owner := "Enter the owner of the app in registry.yaml."

no_ticket := "Enter the approval ticket of the app in registry.yaml."

test_confidential_data_needs_a_ticket if {
	missing({"sensitivity": "confidential", "sensitivity_rank": 2, "ticket": ""}) == {no_ticket}
}

test_restricted_data_needs_a_ticket if {
	missing({"sensitivity": "restricted", "sensitivity_rank": 3, "ticket": " "}) == {no_ticket}
}

test_confidential_data_needs_an_owner if {
	missing({"sensitivity": "confidential", "sensitivity_rank": 2, "owner": " "}) == {no_owner}
}

test_both_reasons_are_given_at_once if {
	missing({"sensitivity": "restricted", "sensitivity_rank": 3, "owner": "", "ticket": ""}) == {no_owner, no_ticket}
}

test_an_app_with_owner_and_ticket_passes if {
	decided({"sensitivity": "restricted", "sensitivity_rank": 3}) == set()
}

test_internal_data_needs_neither if {
	decided({"sensitivity": "internal", "sensitivity_rank": 1, "owner": "", "ticket": ""}) == set()
}

test_the_whole_decision if {
	decided({"name": "hr", "sensitivity": "restricted", "sensitivity_rank": 3, "ticket": ""}) == {{
		"rule": "accountable-app",
		"effect": "deny",
		"message": "The app hr handles restricted data and has no approval ticket in the catalog.",
		"fix": no_ticket,
		"owner": "coe@example.com",
	}}
}
