"""The folder of rules while a worker runs: good edits take over, broken ones never do."""

import asyncio
import shutil
from contextlib import asynccontextmanager

import pytest

from llmguard.policy.judge import Policies
from llmguard.policy.live import KeptPolicies, LivePolicies, PoliciesInvalid
from llmguard.policy.rego_files import RuleSet
from tests.support.builders import FrozenClock
from tests.support.rego_text import a_rule

BROKEN = a_rule("input.app.ownr == ``")


class Folder:
    def __init__(self, tmp_path):
        self.path = tmp_path / "policies"
        self.path.mkdir()
        self.kept = KeptPolicies(tmp_path / "data" / "policies")
        self.policies = Policies(FrozenClock())
        self.live = None

    def write(self, text, name="trial"):
        (self.path / f"{name}.rego").write_text(text)

    @asynccontextmanager
    async def watched(self):
        self.live = LivePolicies(self.path, self.kept, self.policies)
        await self.live.start()
        stop = asyncio.Event()
        watcher = asyncio.create_task(self.live.watch(stop))
        try:
            yield self
        finally:
            stop.set()
            await watcher
            await self.policies.close()

    async def comes_to(self, condition):
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.02)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


async def test_a_good_edit_takes_over(folder):
    folder.write(a_rule(message='"First."'))
    async with folder.watched():
        first = folder.policies.rules
        folder.write(a_rule(message='"Second."'))
        await folder.comes_to(lambda: folder.policies.rules != first)

        assert "Second." in folder.policies.rules.files["trial.rego"]
        assert folder.policies._embedded.digest == f"builtin-3+{folder.policies.rules.digest}"


async def test_a_broken_edit_changes_nothing_and_is_told(folder):
    folder.write(a_rule())
    async with folder.watched():
        good = folder.policies.rules
        folder.write(BROKEN)
        await folder.comes_to(lambda: folder.live.findings)

        assert folder.policies.rules == good
        assert "did you mean input.app.owner?" in str(folder.live.findings[0])
        folder.write(a_rule(message='"Mended."'))
        await folder.comes_to(lambda: folder.policies.rules != good and not folder.live.findings)


async def test_a_folder_that_vanishes_takes_no_rule_with_it(folder):
    folder.write(a_rule())
    async with folder.watched():
        good = folder.policies.rules
        shutil.rmtree(folder.path)
        await folder.comes_to(lambda: folder.live.findings)

        assert folder.policies.rules == good
        assert "is gone" in str(folder.live.findings[0])
        folder.path.mkdir()
        await folder.comes_to(lambda: folder.policies.rules == RuleSet({}))


async def test_a_start_with_a_broken_folder_goes_on_with_the_last_rules(folder):
    folder.write(a_rule())
    async with folder.watched():
        good = folder.policies.rules
    folder.write(BROKEN)
    async with folder.watched():
        assert folder.policies.rules == good
        assert folder.live.findings


async def test_a_start_without_the_folder_goes_on_with_the_last_rules(folder):
    folder.write(a_rule())
    async with folder.watched():
        good = folder.policies.rules
    shutil.rmtree(folder.path)
    async with folder.watched():
        assert folder.policies.rules == good
        assert "is gone" in str(folder.live.findings[0])
    folder.path.mkdir()
    async with folder.watched():
        assert folder.policies.rules == RuleSet({})
    folder.path.rmdir()
    async with folder.watched():
        assert folder.live.findings == ()


def test_a_first_start_with_a_broken_folder_fails(folder):
    folder.write(BROKEN)

    with pytest.raises(PoliciesInvalid, match=r"policies/trial.rego:4:2: there is no input.app.ownr; did you mean"):
        LivePolicies(folder.path, folder.kept, folder.policies)


async def test_every_state_in_force_is_kept(folder):
    folder.write(a_rule(message='"First."'))
    async with folder.watched():
        first = folder.policies.rules
        folder.write(a_rule(message='"Second."'))
        await folder.comes_to(lambda: folder.policies.rules != first)

    assert folder.kept.find(first.digest) == first
    assert folder.kept.last() == folder.policies.rules
    assert folder.kept.find("f" * 64) is None
    assert folder.kept.find("../secret") is None


def test_kept_rules_that_were_changed_are_not_believed(folder):
    rules = RuleSet({"trial.rego": a_rule()})
    folder.kept.keep(rules)
    (folder.kept._folder / rules.digest).write_text('{"trial.rego": "package other"}')

    assert folder.kept.find(rules.digest) is None
