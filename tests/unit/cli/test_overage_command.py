"""`llmguard overage`: ask, look, approve, deny; what the command line refuses."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from llmguard.cli.main import cli
from llmguard.cli.overage import Moment

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path):
    def run(*words):
        places = (f"--registry={ROOT / 'registry.yaml'}", f"--redaction={ROOT / 'redaction'}", f"--data={tmp_path}")
        return CliRunner().invoke(cli, ["overage", *words, *places])

    return run


@pytest.fixture
def asked(run):
    done = run("request", "expense-triage", "usd_per_month", "12.50", "--reason", "Month-end closing.", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_request_is_listed_with_its_reason_for_those_who_decide(run, asked):
    [listed] = json.loads(run("list", "--json").stdout)

    assert listed == asked
    assert (listed["state"], listed["amount"], listed["requested_by"]) == ("open", "12.5", "dana@example.com")
    assert listed["reason"] == "Month-end closing."
    assert json.loads(run("list", "hr-helpdesk", "--json").stdout) == []


def test_an_approval_may_grant_less_and_ends(run, asked):
    done = run("approve", asked["id"], "--as", "lee@example.com", "--amount", "10", "--until", "7d", "--json")

    approved = json.loads(done.stdout)
    assert (approved["state"], approved["granted"], approved["decided_by"]) == ("approved", "10", "lee@example.com")


def test_above_the_cap_the_first_approver_is_told_that_a_second_is_needed(run):
    asked = json.loads(
        run("request", "expense-triage", "usd_per_month", "60", "--reason", "A new report.", "--json").stdout
    )

    first = run("approve", asked["id"], "--as", "fin@example.com", "--until", "7d")
    second = run("approve", asked["id"], "--as", "coe@example.com", "--json")

    assert "awaiting_second" in first.stdout
    assert "a second, different one has to approve it too" in first.stderr
    assert json.loads(second.stdout)["state"] == "approved"


def test_a_denial_needs_a_reason_and_ends_the_request(run, asked):
    assert run("deny", asked["id"], "--as", "fin@example.com").exit_code == 2

    denied = run("deny", asked["id"], "--as", "fin@example.com", "--reason", "Wait for December.", "--json")

    assert json.loads(denied.stdout)["denial"] == "Wait for December."


def test_nobody_approves_their_own(run, asked):
    done = run("approve", asked["id"], "--as", "dana@example.com", "--until", "7d")

    assert done.exit_code == 1
    assert "Nobody approves their own request." in done.stderr


@pytest.mark.parametrize("more", [(), ("--amount", "5")])
def test_a_request_that_nobody_made_is_a_usage_error(run, more):
    done = run("approve", "no-such-id", "--as", "fin@example.com", "--until", "7d", *more)

    assert done.exit_code == 2
    assert "There is no such request." in done.stderr


def test_ends_are_dates_times_or_lengths_of_time():
    moment = Moment()

    assert moment.convert("2026-12-31", None, None) == datetime(2027, 1, 1, tzinfo=UTC)
    assert moment.convert("2026-12-31T18:00", None, None) == datetime(2026, 12, 31, 18, tzinfo=UTC)
    assert moment.convert("2026-12-31T18:00+01:00", None, None) == datetime(2026, 12, 31, 17, tzinfo=UTC)
    week = moment.convert("7d", None, None) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < week <= timedelta(days=7)


@pytest.mark.parametrize("text", ["9999-12-31", "99999999d", "soon"])
def test_an_end_that_cannot_be_is_a_usage_error(text):
    with pytest.raises(click.BadParameter):
        Moment().convert(text, None, None)
