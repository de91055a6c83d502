import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from llmguard.domain.errors import Fault
from llmguard.domain.quota import Amount, Orphan, QuotaRefusal
from llmguard.quota.ledger import Ledger
from llmguard.quota.workers import WorkerLocks
from tests.support.builders import NOON, FrozenClock, a_quota, an_app

APP = an_app(name="claims-bot", quota=a_quota(tokens_per_day=100))


def tokens(count):
    return Amount(1, count, 0)


@asynccontextmanager
async def a_ledger(folder, worker="w1", **settings):
    ledger = Ledger(folder / "state.db", FrozenClock(), worker, **settings)
    ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
async def ledger(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def write_lock(tmp_path, ledger):
    """A connection that keeps every ledger from writing until its transaction ends."""
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        yield connection


async def booked(ledger, app=APP):
    (day,) = await ledger.standings(app)
    return day.used, day.held


async def until_it_reserves_again(ledger):
    async with asyncio.timeout(20):
        while True:
            try:
                return ledger.check()
            except Fault:
                await asyncio.sleep(0.01)


async def until_it_refuses(ledger):
    async with asyncio.timeout(20):
        with pytest.raises(Fault):
            while True:
                ledger.check()
                await asyncio.sleep(0.01)


async def test_a_hold_tells_what_is_reserved_and_how_the_app_stands(ledger):
    hold = await ledger.reserve("h1", APP, tokens(60))

    assert (hold.id, hold.app, hold.amount, hold.reserved_at) == ("h1", "claims-bot", tokens(60), NOON)
    assert [(standing.name, standing.held, standing.left) for standing in hold.standings] == [
        ("tokens_per_day", 60, 40)
    ]


async def test_second_caller_is_refused_while_tokens_are_held(ledger):
    hold = await ledger.reserve("h1", APP, tokens(60))
    with pytest.raises(QuotaRefusal) as caught:
        await ledger.reserve("h2", APP, tokens(60))
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.retry_after_seconds == 1
    assert [standing.held for standing in caught.value.standings] == [60]

    ledger.settle(hold, tokens(40))

    assert (await ledger.reserve("h2", APP, tokens(60))).standings[0].used == 40


async def test_a_used_up_day_is_refused_until_midnight(ledger):
    ledger.settle(await ledger.reserve("h1", APP, tokens(60)), tokens(60))

    with pytest.raises(
        QuotaRefusal, match="60 tokens and has 40 left of 100 tokens a day until 24 November 00:00"
    ) as e:
        await ledger.reserve("h2", APP, tokens(60))
    assert e.value.code == "insufficient_quota"


async def test_while_another_process_writes_a_reservation_waits_beside_the_loop(ledger, write_lock):
    write_lock.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(ledger.reserve("h1", APP, tokens(60)))
    await asyncio.sleep(0.05)
    assert not waiting.done()  # and this loop went on meanwhile
    after = asyncio.create_task(ledger.reserve("h2", APP, tokens(60)))
    await asyncio.sleep(0.05)

    write_lock.execute("COMMIT")

    assert (await waiting).amount.tokens == 60
    with pytest.raises(QuotaRefusal):  # what came later did not overtake it
        await after


async def test_what_is_committed_at_once_is_brought_into_the_file_from_time_to_time(ledger, tmp_path):
    for number in range(300):
        ledger.settle(await ledger.reserve(f"h{number}", APP, tokens(1)), tokens(0))
    await ledger.orphans()  # answered after what was asked of the thread before

    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        _, in_log, in_file = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert in_log == in_file < 4 * 300  # the log began anew


async def test_a_released_hold_is_free_again(ledger):
    ledger.release(await ledger.reserve("h1", APP, tokens(100)))
    assert await booked(ledger) == (0, 0)


async def test_apps_do_not_share_their_quota(ledger):
    await ledger.reserve("h1", APP, tokens(100))
    await ledger.reserve("h2", an_app(name="expense-triage", quota=APP.quota), tokens(100))


async def test_two_hundred_callers_at_once_get_exactly_what_is_there(ledger):
    app = an_app(quota=a_quota(tokens_per_day=50 * 7))
    answers = await asyncio.gather(
        *(ledger.reserve(str(number), app, tokens(7)) for number in range(200)), return_exceptions=True
    )

    holds = [answer for answer in answers if not isinstance(answer, Exception)]
    assert len(holds) == 50
    assert {type(answer) for answer in answers if isinstance(answer, Exception)} == {QuotaRefusal}
    assert await booked(ledger, app) == (0, 350)


async def test_callers_that_take_what_is_left_never_get_the_same_rest(ledger):
    answers = await asyncio.gather(
        *(ledger.reserve(f"h{number}", APP, Amount(1, 45, 7), least=Amount(1, 8, 1), steps=37) for number in range(20)),
        return_exceptions=True,
    )

    held = [answer.amount.tokens for answer in answers if not isinstance(answer, Exception)]
    assert held == [45, 45, 10]
    assert await booked(ledger) == (0, 100)


async def test_what_is_left_and_less_than_the_least_is_refused_and_counts_as_asked(ledger):
    await ledger.reserve("h1", APP, tokens(95))
    with pytest.raises(QuotaRefusal, match="asked for up to 8 tokens and has 5 free right now"):
        await ledger.reserve("h2", APP, Amount(1, 45, 7), least=Amount(1, 8, 1), steps=37)


async def test_a_hold_id_is_used_once_and_the_first_hold_stays(ledger):
    await ledger.reserve("h1", APP, tokens(60))
    with pytest.raises(ValueError, match="h1"):
        await ledger.reserve("h1", APP, tokens(1))
    assert await booked(ledger) == (0, 60)


@pytest.mark.parametrize("amount", [Amount(1, -1, 0), Amount(-1, 1, 0), Amount(1, 1, -1), Amount(1, 2**60, 0)], ids=str)
async def test_an_amount_that_makes_no_sense_is_not_reserved(ledger, amount):
    with pytest.raises(ValueError, match="cannot be reserved"):
        await ledger.reserve("h1", APP, amount)


@pytest.mark.parametrize("reported", [-1, 2**60, 12.5, None], ids=str)
async def test_a_figure_that_cannot_be_true_is_charged_as_it_was_held(ledger, reported):
    hold = await ledger.reserve("h1", APP, tokens(60))

    ledger.settle(hold, Amount(1, reported, 0))

    assert await booked(ledger) == (60, 0)


async def test_a_ledger_that_was_not_started_says_so(tmp_path):
    with pytest.raises(RuntimeError, match="not started"):
        await Ledger(tmp_path / "state.db", FrozenClock(), "w1").standings(APP)


async def test_a_ledger_without_a_folder_does_not_start_and_frees_its_lock(tmp_path):
    (tmp_path / "state.db").mkdir()

    with pytest.raises((OSError, sqlite3.Error)):
        Ledger(tmp_path / "state.db", FrozenClock(), "w1").start()

    assert not WorkerLocks(tmp_path / "workers", "looker").lives("w1")


async def test_closing_commits_everything_that_was_enqueued(tmp_path):
    app = an_app(quota=a_quota(tokens_per_day=10_000))
    async with a_ledger(tmp_path) as ledger:
        holds = await asyncio.gather(*(ledger.reserve(str(number), app, tokens(10)) for number in range(600)))
        for hold in holds:
            ledger.settle(hold, tokens(3))

    async with a_ledger(tmp_path, "w2") as later:
        assert await booked(later, app) == (1800, 0)
        assert await later.orphans() == ()


async def test_a_closed_ledger_reserves_nothing(tmp_path):
    async with a_ledger(tmp_path) as ledger:
        pass

    for awaited in (ledger.reserve("h1", APP, tokens(1)), ledger.standings(APP)):
        with pytest.raises(Fault):
            await awaited


async def test_a_cancelled_reservation_leaves_nothing_held(ledger, write_lock):
    write_lock.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(ledger.reserve("h1", APP, tokens(60)))
    await asyncio.sleep(0.02)  # so that the ledger thread has it in hand
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    write_lock.execute("ROLLBACK")

    await until_it_reserves_again(ledger)

    assert await booked(ledger) == (0, 0)


@pytest.mark.parametrize("steps", range(12))
async def test_a_reservation_cancelled_at_any_step_of_the_loop_leaves_nothing_held(ledger, steps):
    waiting = asyncio.create_task(ledger.reserve("h1", APP, tokens(60)))
    for _ in range(steps):
        await asyncio.sleep(0.0001)
    waiting.cancel()
    answer = (await asyncio.gather(waiting, return_exceptions=True))[0]
    if not isinstance(answer, asyncio.CancelledError):
        ledger.release(answer)

    assert await booked(ledger) == (0, 0)


async def test_a_reservation_whose_coroutine_is_thrown_away_leaves_nothing_held(ledger):
    coroutine = ledger.reserve("h1", APP, tokens(60))
    coroutine.send(None)
    coroutine.close()

    assert await booked(ledger) == (0, 0)


def test_a_loop_that_ends_while_it_waits_does_not_end_the_ledger(tmp_path):
    ledger = Ledger(tmp_path / "state.db", FrozenClock(), "w1")
    ledger.start()
    loop = asyncio.new_event_loop()
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        task = loop.create_task(ledger.reserve("h1", APP, tokens(60)))
        loop.run_until_complete(asyncio.sleep(0.05))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        connection.execute("ROLLBACK")

    async def later():
        await until_it_reserves_again(ledger)
        found = await booked(ledger)
        await ledger.close()
        return found

    assert asyncio.run(later()) == (0, 0)


async def test_a_ledger_that_stays_locked_is_a_fault_and_recovers(tmp_path):
    async with a_ledger(tmp_path, busy_timeout_seconds=0.05) as ledger:
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(Fault) as caught:
                await ledger.reserve("h1", APP, tokens(60))
            assert caught.value.code == "ledger_unavailable"
            assert caught.value.retry_after_seconds == 1
            other.execute("ROLLBACK")

        await until_it_reserves_again(ledger)
        assert (await ledger.reserve("h2", APP, tokens(100))).standings[0].held == 100


async def test_settles_are_kept_until_they_are_committed_and_nothing_new_passes_meanwhile(tmp_path):
    async with a_ledger(tmp_path, busy_timeout_seconds=0.02) as ledger:
        holds = [await ledger.reserve(f"h{number}", APP, tokens(20)) for number in range(3)]
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ledger.settle(holds[0], tokens(5))
            await until_it_refuses(ledger)
            ledger.settle(holds[1], tokens(6))
            ledger.release(holds[2])
            with pytest.raises(Fault):
                await ledger.reserve("h9", APP, tokens(1))
            other.execute("ROLLBACK")

        await until_it_reserves_again(ledger)
        assert await booked(ledger) == (11, 0)


async def test_a_ledger_that_cannot_commit_at_its_end_says_so_and_leaves_an_orphan(tmp_path, caplog):
    ledger = Ledger(tmp_path / "state.db", FrozenClock(), "w1", busy_timeout_seconds=0.02, close_timeout_seconds=0.1)
    ledger.start()
    hold = await ledger.reserve("h1", APP, tokens(60))
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ledger.settle(hold, tokens(5))
        with pytest.raises(Fault):
            await ledger.close()
    assert "SQLITE_BUSY" in caplog.text
    assert "1 operations that could not be committed" in caplog.text

    ledger._locks.drop()  # what the kernel does when the process ends
    async with a_ledger(tmp_path, "w2") as later:
        assert [orphan.id for orphan in await later.orphans()] == ["h1"]


async def test_a_lost_state_file_is_a_fault_for_questions_too(ledger, tmp_path):
    (tmp_path / "state.db").rename(tmp_path / "lost.db")

    with pytest.raises(Fault):
        await ledger.standings(APP)
    with pytest.raises(Fault):
        await ledger.orphans()
    with pytest.raises(Fault):
        await ledger.reserve("h1", APP, tokens(1))

    (tmp_path / "lost.db").rename(tmp_path / "state.db")
    await until_it_reserves_again(ledger)
    assert await booked(ledger) == (0, 0)


async def test_a_ledger_whose_thread_died_refuses_instead_of_waiting_for_ever(tmp_path, caplog):
    ledger = Ledger(tmp_path / "state.db", FrozenClock(), "w1")
    ledger.start()

    def die(store):
        raise SystemExit

    with pytest.raises(Fault):
        await ledger._committer.ask(die)

    assert "died of SystemExit" in caplog.text
    with pytest.raises(Fault):
        ledger.check()
    with pytest.raises(Fault):
        await ledger.reserve("h1", APP, tokens(1))
    with pytest.raises(Fault):
        await ledger.standings(APP)
    ledger._locks.drop()


async def test_holds_of_living_workers_are_no_orphans(tmp_path):
    async with a_ledger(tmp_path, "w1") as first, a_ledger(tmp_path, "w2") as second:
        await first.reserve("h1", APP, tokens(10))
        await second.reserve("h2", APP, tokens(10))

        assert await first.orphans() == ()
        assert await second.orphans() == ()


async def test_holds_of_a_worker_that_is_gone_are_found_and_ended_once(tmp_path):
    async with a_ledger(tmp_path, "gone") as gone:
        for name in ("charged", "known", "more", "released"):
            await gone.reserve(name, APP, tokens(10))

    async with a_ledger(tmp_path, "w2") as ledger:
        found = {orphan.id: orphan for orphan in await ledger.orphans()}
        assert found["known"] == Orphan("known", "claims-bot", "gone", tokens(10), NOON)
        assert set(found) == {"charged", "known", "more", "released"}
        for _ in range(2):  # two workers may recover at the same time
            ledger.settle_orphan(found["charged"], None)
            ledger.settle_orphan(found["known"], tokens(3))
            ledger.settle_orphan(found["more"], tokens(14))
            ledger.release_orphan(found["released"])

        assert await booked(ledger) == (27, 0)
        assert await ledger.orphans() == ()


async def test_lock_files_of_the_dead_go_once_their_holds_are_ended(tmp_path):
    workers = tmp_path / "workers"
    async with a_ledger(tmp_path, "gone") as gone:
        await gone.reserve("h1", APP, tokens(10))
    (workers / "gone.lock").touch()  # as a kill leaves it

    async with a_ledger(tmp_path, "w2") as ledger:
        (orphan,) = await ledger.orphans()
        assert {file.name for file in workers.iterdir()} == {"gone.lock", "w2.lock"}
        ledger.release_orphan(orphan)
        await ledger.orphans()

        assert {file.name for file in workers.iterdir()} == {"w2.lock"}
