"""A file of rules as a test writes it. Stdlib only: journeys use it, too."""

from textwrap import indent


def a_rule(condition="true", *, package="trial", rule="trial", effect="deny", message='"No."'):
    """Return a file of rules with one decision; the condition may have several lines."""
    return (
        f"package llmguard.policies.{package}\n\n"
        f'decisions contains {{"rule": "{rule}", "effect": "{effect}", "message": {message}, '
        f'"fix": "Ask.", "owner": "coe@example.com"}} if {{\n{indent(condition, chr(9))}\n}}\n'
    )
