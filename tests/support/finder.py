"""A small finder of personal data for tests of everything around the engine: real, fast, and easy to predict."""

import re

from llmguard.domain.errors import Fault
from llmguard.redaction.findings import Finding
from llmguard.redaction.profiles import Profile

PATTERNS = {
    "EMAIL_ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "IBAN_CODE": re.compile(r"\b[A-Z]{2}\d{2}(?: ?\d{4}){4}(?: ?\d{2})\b"),
    "CREDIT_CARD": re.compile(r"\b\d{4}([ -]?)\d{4}\1\d{4}\1\d{4}\b"),
    "PHONE_NUMBER": re.compile(r"(?<![\w+])\+?\d{2}[ -]?\d{3}[ -]?\d{7}\b"),
    "EMPLOYEE_ID": re.compile(r"(?<=employee_id: )\d+"),
}
PEOPLE = ("Anna Schmidt", "ANNA  SCHMIDT", "Bob Miller", "Zoë Grün", 'Eve "Ivy" Stone', "Mia\nKlein", "Anna")


def a_profile(**actions):
    """The standard profile of these tests; name an entity to change its action."""
    standard = dict.fromkeys([*PATTERNS, "PERSON"], "hide")
    return Profile(name="standard", ner=True, threshold=0.4, actions=standard | actions)


class PatternFinder:
    """Finds e-mails, IBANs, cards, phones, labelled employee ids and the people of a list."""

    def __init__(self, *profiles, people=PEOPLE, broken=False):
        self.profiles = {profile.name: profile for profile in profiles or (a_profile(),)}
        self.digest = "0" * 64
        self.broken = broken
        self.read = []  # what it was asked to read
        names = "|".join(re.escape(name) for name in sorted(people, key=len, reverse=True))
        self._patterns = PATTERNS | {"PERSON": re.compile(rf"(?<!\w)(?:{names})(?!\w)")}

    def find(self, text, profile):
        found = [
            Finding(match.start(), match.end(), entity_type, 1.0, "PatternFinder")
            for entity_type, pattern in self._patterns.items()
            if profile.actions.get(entity_type, "keep") != "keep"
            for match in pattern.finditer(text)
        ]
        found.sort(key=lambda finding: (finding.start, -finding.end))
        kept = []
        for finding in found:
            if not kept or finding.start >= kept[-1].end:
                kept.append(finding)
        return tuple(kept)

    async def find_all(self, texts, profile):
        if self.broken:
            raise Fault("redaction_unavailable", "The redaction engine does not answer.")
        self.read.extend(texts)
        return [self.find(text, profile) for text in texts]
