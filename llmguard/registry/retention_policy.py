"""From the section `retention` to the policy that it means, and what is wrong with it beyond its form."""

from collections.abc import Iterator

from llmguard.domain.retention import USUAL_DAYS, RetentionPolicy, RetentionRule
from llmguard.registry.document import Document, as_list, as_mapping, as_texts
from llmguard.registry.finding import Problem, suggestion
from llmguard.registry.retention_entries import RetentionEntry


def retention_policy(entry: RetentionEntry) -> RetentionPolicy:
    """Return the policy of a section without problems."""
    return RetentionPolicy(
        days=entry.days.model_dump(),
        rules=tuple(RetentionRule(tuple(rule.apps), rule.days, rule.why) for rule in entry.rules),
    )


def retention_problems(document: Document) -> Iterator[Problem]:
    """Yield what is wrong with rules: apps that are not in the catalog, and days that are no longer than without."""
    apps, section = document.section("apps"), as_mapping(document.value("retention"))
    days = as_mapping(section.get("days"))
    for index, value in enumerate(as_list(section.get("rules"))):
        rule, loc = as_mapping(value), ("retention", "rules", index)
        for number, name in as_texts(rule.get("apps")):
            if name not in apps:
                message = f"no app of the catalog is called '{name[:100]}'"
                yield Problem((*loc, "apps", number), message, value=name, fix=suggestion(name, apps))
                continue
            usual = days.get(str(apps[name].get("sensitivity")), USUAL_DAYS)
            given = rule.get("days")
            if isinstance(given, int) and isinstance(usual, int) and given <= usual:
                message = f"{name} is kept for {usual} days by its sensitivity, and a rule only makes it longer"
                fix = f"write more than {usual}, or change retention.days for its sensitivity"
                yield Problem((*loc, "days"), message, value=str(given), fix=fix)
