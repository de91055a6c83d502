# No call with data of a high class by an app without an owner and an approval ticket.
package llmguard.policies.accountable_apps

decisions contains {
	"rule": "accountable-app",
	"effect": "deny",
	"message": sprintf("The app %s handles %s data and has no %s in the catalog.", [
		input.app.name,
		input.app.sensitivity,
		missing,
	]),
	"fix": sprintf("Enter the %s of the app in registry.yaml.", [missing]),
	"owner": "coe@example.com",
} if {
	input.app.sensitivity_rank >= 2 # confidential and restricted
	some missing in absent
}

absent contains "owner" if trim_space(input.app.owner) == ""

absent contains "approval ticket" if trim_space(input.app.ticket) == ""
