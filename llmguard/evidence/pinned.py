"""What decided an older trace, as it was then: its preset, the preset's model and price, and its redaction profile."""

from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.policy.live import KeptPolicies
from llmguard.redaction.kept import KeptRules
from llmguard.redaction.profiles import PROFILES_FILE
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.yaml_text import NotYaml, read_yaml
from llmguard.settings import Settings

REGISTRY_FOLDER, RULES_FOLDER, POLICIES_FOLDER = "registry", "redaction-rules", "policies"


def pinned_facts(trace: JsonObject, settings: Settings) -> JsonObject:
    """Return what the data folder keeps of what a trace pins; None where it was not reached or not kept.

    Content whose digest is not the one that the trace pins counts as not kept.
    """
    content = AcceptedRegistries(settings.data / REGISTRY_FOLDER).content(str(trace.get("registry_digest")))
    preset = next((entry for entry in content.get("presets", ()) if _is_of(entry, trace)), None)
    model = content.get("models", {}).get((preset or {}).get("model"))
    profile = (preset or {}).get("redaction", "standard")
    return {
        "trace_id": trace["trace_id"],
        "registry_digest": trace.get("registry_digest"),
        "preset_digest": trace.get("preset_digest"),
        "preset": preset,
        "model": model,
        "app": content.get("apps", {}).get(trace.get("app")),
        "price_version": trace.get("price_version"),
        "policy_digest": trace.get("policy_digest"),
        "policies": _policies(str(trace.get("policy_digest")), settings),
        "redaction_digest": trace.get("redaction_digest"),
        "redaction_profile": _profile(str(trace.get("redaction_digest")), profile, settings) if preset else None,
    }


def _policies(digest: str, settings: Settings) -> dict[str, str] | None:
    rules = KeptPolicies(settings.data / POLICIES_FOLDER).find(digest.rpartition("+")[2])
    return None if rules is None else dict(rules.files)


def _is_of(entry: dict[str, Any], trace: JsonObject) -> bool:  # Any: YAML
    return (entry.get("name"), entry.get("version")) == (trace.get("preset"), trace.get("preset_version"))


def _mapping(text: str) -> dict[str, Any]:  # Any: YAML
    try:
        content = read_yaml(text)
    except NotYaml:
        return {}
    return content if isinstance(content, dict) else {}


def _profile(digest: str, name: str, settings: Settings) -> Any:  # Any: YAML
    files = KeptRules(settings.data / RULES_FOLDER, (settings.secret, *settings.previous_secrets)).find(digest)
    return None if files is None else _mapping(files[PROFILES_FILE]).get("profiles", {}).get(name)
