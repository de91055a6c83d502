"""The catalog for other systems: JSON with every field, and CSV for a configuration database (CMDB)."""

import csv
import io
from typing import Any, Final

from llmguard.domain.catalog import App, Registry
from llmguard.domain.chat import JsonObject

# ServiceNow's columns of cmdb_ci_business_app and of what it inherits, with its words for the states.
# Source: ServiceNow, Business Application [cmdb_ci_business_app], table fields, read in November 2026.
_CMDB_COLUMNS: Final = (
    *("correlation_id", "name", "install_status", "operational_status", "owned_by", "managed_by", "support_group"),
    *("cost_center", "data_classification", "end_of_life", "comments", "url", "change_control", "u_connectors"),
)
_INSTALL: Final = {"draft": "Pipeline", "sandbox": "Pipeline", "retired": "Retired"}
_OPERATIONAL: Final = {"approved": "Operational", "deprecated": "Operational", "retired": "Retired"}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def app_json(app: App) -> JsonObject:
    """Return an app with every field of its entry, by the names of registry.yaml."""
    return {
        "name": app.name,
        "status": app.status,
        "owner": app.owner or None,
        "backup_owner": app.backup_owner,
        "team": app.team,
        "cost_center": app.cost_center,
        "ticket": app.ticket,
        "sensitivity": app.sensitivity.label,
        "connectors": list(app.connectors),
        "origins": list(app.origins),
        "presets": list(app.presets),
        "expires": app.expires,
        "sunset": app.sunset,
        "last_day": app.last_day,
        "instead": app.instead,
        "support": app.support,
        "runbook": app.runbook,
        "has_owner": app.has_owner,
        "contained_at": app.contained_at,
    }


def catalog_json(registry: Registry) -> JsonObject:
    """Return the catalog as one document, apps in order of names."""
    return {
        "object": "llmguard.catalog",
        "registry_digest": registry.digest,
        "apps": [app_json(app) for _, app in sorted(registry.apps.items())],
    }


def cmdb_csv(registry: Registry) -> str:
    """Return the catalog as CSV for an import into a CMDB, apps in order of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CMDB_COLUMNS)
    for _, app in sorted(registry.apps.items()):
        writer.writerow([_cell(value) for value in _cmdb_row(app)])
    return text.getvalue()


def _cmdb_row(app: App) -> tuple[Any, ...]:  # Any: what a cell may be
    return (
        f"llmguard:{app.name}",
        app.name,
        _INSTALL.get(app.status, "In Production"),
        _OPERATIONAL.get(app.status, "Non-Operational"),
        app.owner,
        app.backup_owner,
        app.team,
        app.cost_center,
        app.sensitivity.label,
        app.last_day,
        app.support,
        app.runbook,
        app.ticket,
        " ".join(app.connectors),
    )


def _cell(value: Any) -> str:  # Any: see above
    """Return a cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
