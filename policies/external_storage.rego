# No external storage of personal data, unless it is encrypted and approved.
#
# An app whose request holds personal data must not have a connector that can write it to a place outside of the
# organisation. What registry.yaml does not declare counts as writing, external, and neither encrypted nor approved.
package llmguard.policies.external_storage

decisions contains {
	"rule": "external-storage",
	"effect": "deny",
	"message": sprintf("The request holds personal data (%s), and %s can store it outside of the organisation, %s.", [
		concat(", ", found),
		connector.name,
		lacking(connector),
	]),
	"fix": "Leave personal data out, or have the connector encrypted and approved, and say so under `connectors` in registry.yaml.",
	"owner": "privacy@example.com",
} if {
	count(found) > 0
	some connector in input.app.connectors
	stores_outside(connector)
	lacking(connector) != ""
}

# The same without personal data is worth knowing: nothing is refused.
decisions contains {
	"rule": "external-storage-undeclared",
	"effect": "log",
	"message": sprintf("%s is not described under `connectors` in registry.yaml.", [connector.name]),
	"fix": "Describe the connector: direction, storage, encrypted, approved.",
	"owner": "coe@example.com",
} if {
	some connector in input.app.connectors
	not connector.declared
}

# Types of personal data; a date or a secret alone is none.
found contains kind if {
	some kind, times in input.request.entities
	times > 0
	not kind in {"DATE_TIME", "API_KEY", "PASSWORD", "PRIVATE_KEY", "URL"}
}

stores_outside(connector) if {
	connector.direction in {"write", "both"}
	connector.storage == "external"
}

lacking(connector) := concat(" and ", [word | some word in ["not encrypted", "not approved"]; lacks(connector, word)])

lacks(connector, "not encrypted") if not connector.encrypted

lacks(connector, "not approved") if connector.approved == ""
