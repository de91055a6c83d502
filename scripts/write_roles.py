"""Write docs/reference/roles.md from the table of roles and actions."""

from pathlib import Path

from llmguard.identity.roles import roles_document

Path(__file__).resolve().parents[1].joinpath("docs", "reference", "roles.md").write_text(roles_document())
