package llmguard.policies.external_storage_test

import data.llmguard.example
import data.llmguard.policies.external_storage

outside := {"name": "crm-export", "direction": "write", "storage": "external", "encrypted": false, "approved": ""}

person := {"PERSON": 1}

decided(changes, entities) := found if {
	connector := object.union(example.connector, object.union(outside, changes))
	facts := object.union(example.facts, {"app": {"connectors": [connector]}, "request": {"entities": entities}})
	found := external_storage.decisions with input as facts
}

denied(changes, entities) if {
	some decision in decided(changes, entities)
	decision.effect == "deny"
}

test_the_whole_denial if {
	decided({}, {"PERSON": 1, "EMAIL_ADDRESS": 2}) == {{
		"rule": "external-storage",
		"effect": "deny",
		"message": "The request holds personal data (EMAIL_ADDRESS, PERSON), and crm-export can store it outside of the organisation, not encrypted and not approved.",
		"fix": "Leave personal data out, or have the connector encrypted and approved, and say so under `connectors` in registry.yaml.",
		"owner": "privacy@example.com",
	}}
}

test_a_connector_for_both_directions_writes_too if denied({"direction": "both"}, person)

test_a_connector_that_reads_stores_nothing if not denied({"direction": "read"}, person)

test_storage_inside_is_allowed if not denied({"storage": "internal"}, person)

test_no_storage_is_allowed if not denied({"storage": "none"}, person)

test_encrypted_alone_is_not_enough if {
	some decision in decided({"encrypted": true}, person)
	endswith(decision.message, "outside of the organisation, not approved.")
}

test_approved_alone_is_not_enough if {
	some decision in decided({"approved": "GOV-12"}, person)
	endswith(decision.message, "outside of the organisation, not encrypted.")
}

test_encrypted_and_approved_is_allowed if decided({"encrypted": true, "approved": "GOV-12"}, person) == set()

test_without_personal_data_it_is_allowed if decided({}, {}) == set()

test_a_type_that_was_never_found_does_not_count if not denied({}, {"PERSON": 0})

test_dates_secrets_and_addresses_of_pages_are_no_personal_data if {
	every kind in ["DATE_TIME", "API_KEY", "PASSWORD", "PRIVATE_KEY", "URL"] {
		not denied({}, {kind: 4})
	}
}

test_each_connector_is_looked_at if {
	facts := object.union(example.facts, {
		"app": {"connectors": [example.connector, object.union(example.connector, outside)]},
		"request": {"entities": person},
	})
	count(external_storage.decisions) == 1 with input as facts
}

test_an_undeclared_connector_is_noted if {
	decided({"declared": false, "name": "new-one", "direction": "read"}, {}) == {{
		"rule": "external-storage-undeclared",
		"effect": "log",
		"message": "new-one is not described under `connectors` in registry.yaml.",
		"fix": "Describe the connector: direction, storage, encrypted, approved.",
		"owner": "coe@example.com",
	}}
}
