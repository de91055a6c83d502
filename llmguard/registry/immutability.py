"""Versions never change: what was accepted once under `name@version` stays what it is, for apps, traces and replays."""

from collections.abc import Iterator, Mapping

from llmguard.registry.document import Document
from llmguard.registry.finding import Problem
from llmguard.registry.references import newest_version


def changed_presets(document: Document, accepted: Mapping[str, str]) -> Iterator[Problem]:
    """Yield each preset version that was accepted with other content.

    A version that is gone is no finding of its own: what apps still use is (there is no such preset), what nobody uses
    may go, and its number stays taken by the accepted digest.

    Args:
        document: the file.
        accepted: digest by `name@version`, of each version that was ever accepted as more than a draft.
    """
    for preset_id, index in document.preset_ids.items():
        before, now = accepted.get(preset_id), document.preset_digests.get(index)
        if before is None or now is None or now == before:
            continue
        successor = newest_version(document, preset_id.rpartition("@")[0]) + 1
        yield Problem(
            ("presets", index),
            f"{preset_id} was approved with other content, and versions are immutable: its model's target, parameters, "
            "system prompt, tools, media, provider_state, extra parameters, redaction, response filters or "
            "on_violation changed",
            value=preset_id,
            fix=f"put it back as it was, and add the change as a new entry with version: {successor}",
        )
