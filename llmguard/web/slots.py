"""Who is served at once, who waits, in which order and for how long."""

import asyncio
from collections import Counter, deque

from llmguard.domain.errors import Fault

_MOST_AT_ONCE = 512
_LONGEST_WAIT_SECONDS = 4.0
_BEGUN_A_ROUND = 8  # 10 ms of work; `serve` lets four times as many connections in meanwhile
_LEFT_TO_OTHERS = 4  # one slot of so many is never had by an app that has all the others
_WAITING_A_SLOT = 8  # so many requests may wait for each one that is served; a connection of each is all they cost


class Slots:
    """How many requests a worker serves at once: the next ones wait for their turn, and not for long.

    Two things bound it. So many slots are there, for requests that wait for slow models. And in each round of the event
    loop so few requests begin that the round stays short, however many callers there are: where the processor is what
    there is too little of, a request is rather left waiting here, where it costs nothing, than begun and not finished,
    and those who wait for a connection, a byte or a refusal have theirs soon.

    Those that wait in vain are refused at the end of the wait and not before, so that callers who try again at once
    cannot keep the worker busy with refusals. Apps that wait have their turns one after the other, each its oldest
    request first. One app has at most three quarters of the slots, so that its slow requests do not shut out all other
    apps.
    """

    def __init__(
        self, most: int = _MOST_AT_ONCE, *, wait_seconds: float = _LONGEST_WAIT_SECONDS, a_round: int = _BEGUN_A_ROUND
    ) -> None:
        """Serve so many at once, of which so many begin in one round of the event loop; others wait so long."""
        self._most = most
        self._share = most - most // _LEFT_TO_OTHERS
        self._most_waiting = most * _WAITING_A_SLOT
        self._a_round = a_round
        self._wait_seconds = wait_seconds
        self._taken = 0
        self._taken_by: Counter[str] = Counter()
        self._begun = 0  # in this round
        self._waiting = 0
        self._coming = 0  # in this round, and not here yet
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # of apps that wait; whose turn is next comes first

    @property
    def is_crowded(self) -> bool:
        """Whether nobody else may even wait."""
        return self._waiting >= self._most_waiting

    def will_be_crowded(self) -> bool:
        """Return whether nobody else may wait once those are here that came in this round of the event loop.

        If not, whoever asks is taken to come: in a round whose requests are read before any of them asks for a slot,
        more may come than there is room for.
        """
        if not self._waiting:
            return False
        if self._waiting + self._coming >= self._most_waiting:
            return True
        if not self._coming:
            asyncio.get_running_loop().call_soon(self._all_here)
        self._coming += 1
        return False

    def _all_here(self) -> None:
        self._coming = 0

    async def take(self, app: str) -> None:
        """Take a slot for an app, at once or after those who came before; whoever has one gives it back.

        Raises:
            Fault: `overloaded`: none became free in time, or too many wait already.
        """
        if self._is_room() and self._is_room_for(app):  # then nobody waits who could begin
            self._begin(app)
            return
        if self.is_crowded:
            raise self.overloaded()
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._queues.setdefault(app, deque()).append(turn)
        self._waiting += 1
        end = loop.call_later(self._wait_seconds, self._refuse, app, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._queues.get(app, ()):
                self._leave(app, turn)
            elif not turn.cancelled() and turn.exception() is None:  # it got its slot in the same moment
                self.give(app)
            raise
        finally:
            end.cancel()

    def give(self, app: str) -> None:
        """Give a slot of an app back: whose turn it is has it next."""
        self._taken -= 1
        self._taken_by[app] -= 1
        self._let_in()

    def _is_room(self) -> bool:
        return self._begun < self._a_round and self._taken < self._most

    def _is_room_for(self, app: str) -> bool:
        return self._taken_by[app] < self._share

    def _begin(self, app: str) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_round)
        self._begun += 1
        self._taken += 1
        self._taken_by[app] += 1

    def _next_round(self) -> None:
        self._begun = 0
        self._let_in()

    def _let_in(self) -> None:
        """Let as many in of those who wait as there is room for."""
        while self._queues and self._is_room():
            app = next((app for app in self._queues if self._is_room_for(app)), None)
            if app is None:
                return
            turn = self._queues[app][0]
            self._leave(app, turn)
            if app in self._queues:
                self._queues[app] = self._queues.pop(app)  # the others' turns come first
            if not turn.cancelled():
                self._begin(app)
                turn.set_result(None)

    def _refuse(self, app: str, turn: "asyncio.Future[None]") -> None:
        if not turn.done():
            self._leave(app, turn)
            turn.set_exception(self.overloaded())

    def _leave(self, app: str, turn: "asyncio.Future[None]") -> None:
        self._waiting -= 1
        queue = self._queues[app]
        queue.remove(turn)  # nearly always the first
        if not queue:
            del self._queues[app]

    def overloaded(self) -> Fault:
        """Return what they are told who wait in vain, or may not even wait."""
        return Fault(
            "overloaded",
            f"llmguard has more to do than it can: {self._taken} requests are being answered by this worker, "
            f"and {self._waiting} others wait for their turn.",
            hint="Try again in a moment. If it lasts, whoever runs llmguard can start more workers, or let each answer "
            "more requests at once if it is the models that are slow.",
            retry_after_seconds=1,
        )
