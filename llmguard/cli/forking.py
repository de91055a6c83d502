"""The process that the workers of `llmguard serve` are forked from: everything heavy is loaded in it, once."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import TypeVar

T = TypeVar("T")

_PRELOADED = "llmguard.preloaded"


class ForkedError(Exception):
    """What ran in a forked process ended without a result; its own words, if it had any, are in the log."""


def begin_loading() -> ForkServerContext:
    """Start the process, which begins to load what workers need, and return what starts others from it.

    The variables that the loaded parts read must be set before.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    from multiprocessing.forkserver import ensure_running  # noqa: PLC0415 - part of the context that was just chosen

    ensure_running()
    return context


def call_in_fork(context: ForkServerContext, work: Callable[..., T], *given: object) -> T:
    """Return what a function returns in a forked process, which has everything loaded that this one has not.

    Raises:
        ForkedError: the process ended without a result.
    """
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, work, given), name=work.__name__)
    try:
        process.start()
        sender.close()
        result: T = receiver.recv()
    except (EOFError, OSError):  # also if the process that others are forked from did not come up
        raise ForkedError(f"{work.__name__} ended without a result") from None
    finally:
        receiver.close()
        if process.pid is not None:
            process.join()
    return result


def _answer(sender: Connection, work: Callable[..., T], given: tuple[object, ...]) -> None:
    sender.send(work(*given))
