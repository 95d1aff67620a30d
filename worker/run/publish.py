"""Put an input on a queue, with all that belongs to a run: a directory, a lock, signals, files."""

import json
from collections.abc import Callable
from dataclasses import asdict

from worker.errors import LedgerBlocked, QueueError, TooFewRows, UsageError, WorkerError
from worker.ledger import LedgerReader, run_lock
from worker.queues import Publisher, open_publisher, parse_address
from worker.run.directory import RunDirectory
from worker.run.lifetime import Lifetime, Stop
from worker.settings import Settings
from worker.sinks import replaced, write_outcomes
from worker.sources import Source, open_source
from worker.supply.publication import Publication, Published

LEDGER = "publish.db"
"""Not ``ledger.db``: its rows were never to be linked by this run."""


class Publishing:
    """A publication that is about to begin or go on.

    Args:
        directory: where it keeps its files.
        source: the open input.
        publisher: not open yet.
        queue: the queue's URL without credentials.
        fresh: the directory was just made.
        limit, min_rows, give_up_after, tell, show: as of :class:`worker.supply.publication.Publication`.
    """

    def __init__(
        self,
        directory: RunDirectory,
        source: Source,
        publisher: Publisher,
        queue: str,
        *,
        limit: int | None,
        min_rows: int | None = None,
        fresh: bool,
        give_up_after: float,
        tell: Callable[[str], None],
        show: Callable[[Published], None],
    ) -> None:
        self._state = Published(directory.run_id, queue, source.name)
        self._directory = directory
        self._source = source
        self._publisher = publisher
        self._fresh = fresh
        self._publication = Publication(
            self._state,
            directory.path / LEDGER,
            source,
            publisher,
            limit=limit,
            min_rows=min_rows,
            fresh=fresh,
            give_up_after=give_up_after,
            tell=tell,
            show=show,
        )

    def complete(self) -> Published:
        """Publish all that is not published yet; on return the files say how far it came.

        Raises:
            WorkerError: it could not go on; the same call by another process takes up from here.
        """
        lifetime = Lifetime()
        try:
            with run_lock(self._directory.path), lifetime.beyond_the_loop(self._go_on):
                try:
                    lifetime.run(self._run, self._go_on)
                except LedgerBlocked as error:
                    raise LedgerBlocked(error.what, self._go_on()) from error
                except TooFewRows:
                    self._state.rows = 0  # nothing was sent, and nothing is to be gone on with
                    raise
                finally:
                    if self._state.rows:
                        self._write_files()
                    elif self._leaves_nothing:
                        self._directory.discard()
        finally:
            self._source.close()
        return self._state

    async def _run(self, stop: Stop) -> None:
        def drain() -> None:
            self._state.stopped_by = stop.exit_code - 128
            if self._publication.is_waiting:
                stop.cancel()  # there may be nothing to wait for

        stop.drain_by(drain)
        try:
            await self._publication.run()
        except QueueError as error:
            raise error.with_more(self._so_far()) from error
        finally:
            await self._publisher.close()

    @property
    def _leaves_nothing(self) -> bool:
        return self._fresh and not self._state.rows

    def _go_on(self) -> str:
        if self._leaves_nothing:
            return "the same command"
        return f"the same command and --resume {self._directory.run_id}"

    def _so_far(self) -> str:
        if self._leaves_nothing:
            return "nothing was published"
        return f"{self._state.published:,} published so far; go on with: {self._go_on()}"

    def _write_files(self) -> None:
        folder = self._directory.path
        with LedgerReader(folder / LEDGER) as reader:
            write_outcomes(reader, folder / "rejected.csv")
        with replaced(folder / "publish.json") as file:
            said = {**asdict(self._state), "exit_code": self._state.exit_code}
            file.write(json.dumps(said, indent=2) + "\n")


def start(
    settings: Settings,
    input_path: str,
    queue_url: str,
    *,
    resume: str | None,
    tell: Callable[[str], None],
    show: Callable[[Published], None],
) -> Publishing:
    """Make ready to put an input on a queue, or to go on with it where an earlier session was cut off.

    Args:
        settings: all options.
        input_path: path of the input; ``-`` is standard input.
        queue_url: where to.
        resume: name of the run to go on with; None for a new one.
        tell: told what is going on, in words for the user.
        show: called after each batch.

    Raises:
        UsageError: the URL is wrong, the library for its broker is not installed, or there is no such run.
        InputError: the input cannot be read at all.
    """
    address = parse_address(queue_url)
    publisher = open_publisher(address)
    directory = None
    if resume is not None:
        directory = RunDirectory(settings.runs_dir / resume)
        if not (directory.path / LEDGER).is_file():
            raise UsageError(f"{resume}: nothing was published by a run of that name in {settings.runs_dir}")
    source = open_source(
        input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
    )
    try:
        return Publishing(
            directory or RunDirectory.create(settings.runs_dir, settings.run_id),
            source,
            publisher,
            address.shown,
            limit=settings.limit,
            min_rows=settings.min_rows,
            fresh=directory is None,
            give_up_after=settings.wait_for_broker,
            tell=tell,
            show=show,
        )
    except WorkerError:
        source.close()
        raise
