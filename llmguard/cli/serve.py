"""`llmguard serve`: the workers, the ingester and what runs beside them, started and stopped together."""

import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmguard.cli.beside import Beside
from llmguard.cli.forking import ForkedError, begin_loading, call_in_fork
from llmguard.cli.main import fail
from llmguard.cli.options import place_options, settings_from
from llmguard.domain.at_rest import at_rest_to
from llmguard.logs import configure_logging
from llmguard.redaction.workers import bound_blas_threads
from llmguard.settings import Settings

if TYPE_CHECKING:
    from llmguard.domain.catalog import App

_STOP_INGESTER_SECONDS = 60
_WATCH_SECONDS = 1.0
_METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_DRAIN_SECONDS = 120
# libuv accepts one connection for each listening descriptor and round of the loop. A round that serves hundreds of
# requests is long: with one descriptor, new callers waited for seconds while those who were in were served.
_ACCEPTED_AT_ONCE = 32
_CONNECTIONS_AT_THE_DOOR = 4096  # not let in yet; the system says to others, after a second or three, to try again
_ENOUGH_FILES = 65_536  # a worker's slots, who waits for one, and each one's way to the provider: a tenth of it
_log = logging.getLogger("llmguard")


@click.command()
@place_options
@click.option("--host", metavar="ADDRESS", help="Address to listen on [LLMGUARD_HOST; 127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on [LLMGUARD_PORT; 8080].")
@click.option("--workers", type=click.IntRange(1, 256), help="Server processes [LLMGUARD_WORKERS; 1].")
@click.option("--demo-key", is_flag=True, help="Issue a key for the first approved app, and print it.")
@click.option("--operator-token", is_flag=True, help="Make a token for the console if none is in force, and print it.")
def command(  # noqa: PLR0913 - click passes one argument an option
    *,
    registry: str | None,
    redaction: str | None,
    data: str | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    demo_key: bool,
    operator_token: bool,
) -> None:
    """Serve the gateway until it is told to stop (Ctrl-C or SIGTERM); streams are drained, traces flushed."""
    configure_logging()
    os.umask(0o077)
    _allow_connections()
    settings = settings_from(
        "made", registry=registry, redaction=redaction, data=data, host=host, port=port, workers=workers
    )
    _export(settings)
    forks = begin_loading()
    from llmguard.cli import banner  # noqa: PLC0415 - while the other process loads what takes longest

    listener = _listen(settings)
    with _ingester(settings):  # it loads meanwhile, too
        run_workers = _workers(forks, settings, listener)
        demo_app = _prepared(forks, settings)
        demo = banner.issue_demo_key(settings, demo_app) if demo_key and demo_app is not None else None
        first_token = banner.issue_first_token(settings) if operator_token else None
        with Beside(forks, settings):
            banner.print_when_ready(banner.Banner(settings, listener.getsockname()[1], demo, first_token))
            run_workers()


def _allow_connections() -> None:
    """Let this process and its workers open as many connections as they may: shells start with a low limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepared(forks: ForkServerContext, settings: Settings) -> "App | None":
    """Check what serving needs, in a process that has it loaded; return the app that a demo key is for."""
    try:
        unusable, app = call_in_fork(forks, _prepare, settings)
    except ForkedError:
        fail("nobody could check whether the CoE's files can be used; what is written above says why")
    if unusable is not None:
        fail(f"the CoE's files have findings, and none were accepted before:\n{unusable}")
    return app


def _prepare(settings: Settings) -> "tuple[str | None, App | None]":
    """Return what makes the CoE's files unusable, if anything does, or the app that a demo key is for."""
    from llmguard.wiring import UnusableRulesError, prepare  # noqa: PLC0415 - loaded already where this runs

    try:
        return None, prepare(settings)
    except UnusableRulesError as error:
        return str(error), None


def _export(settings: Settings) -> None:
    """Put the settings where the workers read them, and give them a fresh folder for shared metrics."""
    os.environ |= {
        "LLMGUARD_REGISTRY": str(settings.registry),
        "LLMGUARD_REDACTION": str(settings.redaction),
        "LLMGUARD_DATA": str(settings.data),
    }
    bound_blas_threads()  # read when the libraries are loaded, so the workers must be born with it
    os.environ[_METRICS_FOLDER_VARIABLE] = str(_fresh_metrics_folder(settings.data / "metrics"))


def _fresh_metrics_folder(folder: Path) -> Path:
    """Return a folder of our own for the counters, and remove those whose processes are gone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for old in folder.iterdir():
        if not old.name.isdecimal() or int(old.name) == os.getpid() or not _lives(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    own = folder / str(os.getpid())
    own.mkdir(mode=0o700)
    return own


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        fail(
            f"it cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
            "Stop what listens there, or name another port with --port."
        )
    listener.set_inheritable(True)
    return listener


def _workers(forks: ForkServerContext, settings: Settings, listener: socket.socket) -> Callable[[], None]:
    """Return what starts the workers, and runs until they are told to stop."""
    from uvicorn import Config, _subprocess  # noqa: PLC0415 - only `serve` needs it
    from uvicorn.supervisors import Multiprocess  # noqa: PLC0415

    # uvicorn starts its workers as new interpreters; it has no setting for another way.
    _subprocess.spawn = forks  # type: ignore[assignment]
    config = Config(
        "llmguard.asgi:create_app",
        factory=True,
        workers=settings.workers,
        loop="uvloop",
        http="llmguard.web.connection:Connection",
        ws="none",
        lifespan="on",
        access_log=False,  # traces tell more, and a URL may hold what does not belong into a log
        server_header=False,
        date_header=True,
        log_config=None,
        log_level="warning",
        backlog=_CONNECTIONS_AT_THE_DOOR,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        timeout_worker_healthcheck=30,
    )
    listeners = [listener, *(listener.dup() for _ in range(1, _ACCEPTED_AT_ONCE))]
    return lambda: Multiprocess(config, sockets=listeners).run()


@contextmanager
def _ingester(settings: Settings) -> Iterator[None]:
    """Keep an ingester process alive; at the end let it bring in all that is in the spool."""
    ingester = _Ingester(settings)
    try:
        yield
    finally:
        ingester.stop()


class _Ingester:
    """The ingester process, started again when it dies."""

    def __init__(self, settings: Settings) -> None:
        self._at_rest = settings.at_rest
        self._command = [sys.executable, "-m", "llmguard.traces.ingest", "--data", str(settings.data)]
        self._command += ["--follow-parent", str(os.getpid()), "--keys-on-stdin"]
        self._stopping = threading.Event()
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch, name="ingester-watcher", daemon=True)
        self._watcher.start()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in a terminal reaches the workers first, and it last. If this process is killed,
        # it notices, brings in what is left, and ends.
        process = subprocess.Popen(  # noqa: S603 - our own module and folder
            self._command, stdin=subprocess.PIPE, start_new_session=True, env=_without_secrets(os.environ)
        )
        if process.stdin is not None:  # it is: PIPE
            with suppress(BrokenPipeError):  # it died at once: the watcher sees it
                at_rest_to(process.stdin, self._at_rest)
        return process

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            if self._process.poll() is not None:
                _log.error("the ingester ended with %s; starting it again", self._process.returncode)
                try:
                    self._process = self._start()
                except OSError as error:  # no room for a process or a file now; nobody else would start it again
                    _log.error("it could not be started, which is tried again: %s", error.strerror)

    def stop(self) -> None:
        """Ask it to finish, and wait until it has."""
        self._stopping.set()
        self._watcher.join()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_INGESTER_SECONDS)
        except subprocess.TimeoutExpired:
            _log.error("the ingester did not finish in time; what is in the spool is brought in at the next start")
            self._process.kill()


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what only workers need: provider keys, and the secret."""
    ends, begins = ("KEY", "TOKEN", "SECRET", "PASSWORD"), "LLMGUARD_SECRET"
    return {name: value for name, value in environ.items() if not (name.endswith(ends) or name.startswith(begins))}
