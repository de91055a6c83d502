"""The ledger of one worker: reserve before the call (step 5), settle after it (step 7).

Exact across coroutines, threads and worker processes, and after `kill -9`: what a dead worker held stays held until
somebody who knows its traces settles it as an orphan. Knows apps and amounts, and nothing of prices, tokens or HTTP.
"""

from pathlib import Path

from llmguard.domain.catalog import App
from llmguard.domain.clock import Clock
from llmguard.domain.quota import Amount, Hold, Orphan, Standing
from llmguard.quota.committer import Committer
from llmguard.quota.operations import Claim, Denied, Duplicate, Granted, OpenHold, Release, Reserve, Settle
from llmguard.quota.refusals import quota_refusal
from llmguard.quota.store import LedgerStore
from llmguard.quota.windows import to_datetime
from llmguard.quota.workers import WorkerLocks

_APP_SCOPE = "app:"
_LARGEST = 2**53  # larger figures are mistakes, and would not fit where sums of them are stored


class Ledger:
    """Reserves and settles quota for one worker.

    `reserve`, `standings` and `orphans` are awaited; `settle`, `release` and their orphan forms only enqueue: they take
    microseconds, never raise, and are not lost while the process lives.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        worker: str,
        *,
        busy_timeout_seconds: float = 2.0,
        close_timeout_seconds: float = 10.0,
    ) -> None:
        """Name the parts; nothing is opened before `start`.

        Args:
            path: `state.db`; the workers' lock files lie in `workers/` beside it.
            clock: tells the time of every booking.
            worker: unique for each life of a process, such as process id and start time.
            busy_timeout_seconds: how long a batch waits for other workers' before its reservations fail.
            close_timeout_seconds: how long `close` keeps trying to commit what is enqueued.
        """
        self._path = path
        self._clock = clock
        self._worker = worker
        self._busy_timeout_seconds = busy_timeout_seconds
        self._close_timeout_seconds = close_timeout_seconds
        self._locks = WorkerLocks(path.parent / "workers", worker)
        self._committer: Committer | None = None
        self._refused: set[str] = set()  # apps whose last reservation here was
        self._known: dict[str, tuple[App, tuple[Claim, ...]]] = {}  # grows with the registry at most

    def start(self) -> None:
        """Take this worker's lock, open the store, and start the ledger thread; call it once.

        Raises:
            sqlite3.Error, OSError: the data folder cannot be used.
            ValueError: another living worker has the same identity.
        """
        self._locks.hold()
        try:
            store = LedgerStore(self._path, self._clock, busy_timeout_seconds=self._busy_timeout_seconds)
        except BaseException:
            self._locks.drop()
            raise
        self._committer = Committer(store, close_timeout_seconds=self._close_timeout_seconds)
        self._committer.start()

    async def close(self) -> None:
        """Commit everything enqueued and end the thread. What was not settled by then becomes an orphan.

        Raises:
            Fault: `ledger_unavailable`, when something could not be committed in time; it stays held, and is an
                orphan's once this process has ended.
        """
        await self._started.close()
        self._locks.drop()  # not before everything is committed: from here on, what is still held counts as orphaned

    def check(self) -> None:
        """Do nothing while reservations are possible.

        Raises:
            Fault: `ledger_unavailable`.
        """
        self._started.check()

    async def reserve(
        self, hold_id: str, app: App, most: Amount, *, least: Amount | None = None, steps: int = 0
    ) -> Hold:
        """Hold the amount under every limit of the app, its owner and its cost centre, or under none.

        Args:
            hold_id: the trace id; used once.
            app: who pays; its limits as of now are in force for this reservation.
            most: an upper bound of what the request can use.
            least: where less than `most` is worth having: the least that is; the hold tells how much it got.
            steps: in how many even steps the amount may be lowered from `most` to `least`.

        Raises:
            QuotaRefusal: 429, a limit is in the way: `rate_limit_exceeded` where waiting helps, else
                `insufficient_quota`.
            Fault: `ledger_unavailable`; nothing is held.
            ValueError: the amount is negative or absurd, or the hold id is taken.
        """
        for amount in (most,) if least is None or least is most else (most, least):
            if not all(map(_is_countable, amount)):
                raise ValueError(f"{amount} cannot be reserved.")
        result = await self._started.reserve(Reserve(hold_id, self._claims(app), most, self._worker, least, steps))
        match result:
            case Granted():
                self._refused.discard(app.name)
                return Hold(hold_id, app.name, result.amount, result.reserved_at, result.standings)
            case Denied():
                self._refused.add(app.name)
                raise quota_refusal(app, result)
            case Duplicate():
                raise ValueError(f"There is a hold with the id {hold_id} already.")
            case _:
                raise AssertionError(f"A reservation cannot end in {result}.")

    def has_refused(self, app: App) -> bool:
        """Return whether the last reservation of this app here was refused, so that the next one may be, too."""
        return app.name in self._refused

    async def check_left(self, app: App, least: Amount, asked: Amount) -> None:
        """Do nothing if `least` could be held now; else refuse `asked`, which is as much or more, as `reserve` would.

        Raises:
            QuotaRefusal, Fault: as in `reserve`.
        """
        denied = await self._started.ask(lambda store: store.denied(self._claims(app), least, asked))
        if denied is not None:
            raise quota_refusal(app, denied)

    def settle(self, hold: Hold, actual: Amount) -> None:
        """Charge what was used instead of what was held: the truth, even where it is more. Once only."""
        self._started.submit(Settle(hold.id, _chargeable(actual, hold.amount)))

    def release(self, hold: Hold) -> None:
        """Give the hold back; only for requests that reached no provider. Once only."""
        self._started.submit(Release(hold.id))

    async def standings(self, app: App) -> tuple[Standing, ...]:
        """Return how the app, its owner and its cost centre stand against each limit they have.

        Raises:
            Fault: `ledger_unavailable`.
        """
        claims = self._claims(app)
        return await self._started.ask(lambda store: store.standings(*claims))

    async def orphans(self) -> tuple[Orphan, ...]:
        """Return the holds whose worker no longer lives, oldest first, and tidy up after workers that left none.

        Raises:
            Fault: `ledger_unavailable`.
        """
        return await self._started.ask(self._find_orphans)

    def settle_orphan(self, orphan: Orphan, actual: Amount | None) -> None:
        """Charge what its trace says was used; None, when nothing is known, charges the whole hold."""
        self._started.submit(Settle(orphan.id, None if actual is None else _chargeable(actual, orphan.amount)))

    def release_orphan(self, orphan: Orphan) -> None:
        """Give an orphan's hold back; only where its trace proves that no provider was reached."""
        self._started.submit(Release(orphan.id))

    @property
    def _started(self) -> Committer:
        if self._committer is None:
            raise RuntimeError("The ledger was not started.")
        return self._committer

    def _claims(self, app: App) -> tuple[Claim, ...]:
        known = self._known.get(app.name)
        if known is None or known[0] is not app:  # new, or in another registry
            claims = tuple(Claim(scope.id, scope.quota) for scope in app.scopes)
            known = self._known[app.name] = (app, claims)
        return known[1]

    def _find_orphans(self, store: LedgerStore) -> tuple[Orphan, ...]:
        holds = store.holds()
        # Asked after the holds were read: a worker found dead now makes no more, and what it settled in between is no
        # hold any more, so that settling it here does nothing.
        dead = frozenset(worker for worker in {hold.worker for hold in holds} if not self._locks.lives(worker))
        self._locks.sweep(keep=dead)
        return tuple(_orphan(hold) for hold in holds if hold.worker in dead)


def _orphan(hold: OpenHold) -> Orphan:
    app = next(scope.removeprefix(_APP_SCOPE) for scope in hold.scopes if scope.startswith(_APP_SCOPE))
    return Orphan(hold.id, app, hold.worker, hold.amount, to_datetime(hold.reserved_at))


def _chargeable(actual: Amount, held: Amount) -> Amount:
    """Return the actual amount, with each quantity that cannot be true replaced by the one that was held."""
    return actual if all(map(_is_countable, actual)) else Amount(*map(_plausible, actual, held))


def _plausible(actual: int, held: int) -> int:
    return actual if _is_countable(actual) else held


def _is_countable(quantity: object) -> bool:
    """Whether accounts can hold it; figures that providers report are not always what their type says."""
    return type(quantity) is int and 0 <= quantity <= _LARGEST
