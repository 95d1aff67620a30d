"""Make the report of a run from its ledger: counts that sum to the rows, causes with hints, exit code."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from worker.errors import Exit, one_line
from worker.ledger import LedgerReader, pruned_at
from worker.models import Status
from worker.quantities import counted
from worker.reasons import OPPORTUNITY_MISSING, hint_for
from worker.report.rollback import RolledBack, rolled_back
from worker.report.sessions import SessionPart, latest_sessions
from worker.report.sync import REMOVED_CSV, SyncPart, sync_part
from worker.report.verification import Verification

SCHEMA_VERSION = 1

LIMITS = "limits_"
"""How the facts begin that say which limits a session changed; the rest is when it began."""

FILES = (
    "ledger.db",
    "contacts.jsonl",
    "linked.csv",
    "rejected.csv",
    "retry.csv",
    "report.json",
    "report.html",
    "run.log",
)

VERIFY_FILES = ("verify.json", "verify.csv")
ROLLBACK_FILES = ("rollback.json", "rollback.csv")

RunStatus = Literal[
    "completed", "completed_with_failures", "aborted", "interrupted", "rolled_back", "planned"
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputPart(_Part):
    """What was read; ``sha256`` is of the whole input, and null if only a part was read, as by a retry.

    Attributes:
        blank: lines and rows without any text; they are no rows, and 0 until the input is complete.
    """

    name: str
    kind: Literal["file", "queue", "retry", "plan", "merged"]
    sha256: str | None
    rows: int
    complete: bool
    blank: int = 0


class RequestsPart(_Part):
    """What was sent, over all sessions."""

    attempts: int
    retries: int
    retries_by_reason: dict[str, int]
    looks: int
    throttled: int
    paused_seconds: float
    batches: int
    items: int
    transport: str
    transport_reason: str


class TimingPart(_Part):
    """When and how fast; ``seconds`` is time at work, without the gaps between sessions.

    Attributes:
        pairs_per_second: those of which it is known what became of them, links that were there included.
        links_per_second: those that were made.
        requests_per_second: of any kind; what a limit of the portal counts.
    """

    started_at: datetime
    finished_at: datetime
    seconds: float
    pairs_per_second: float
    links_per_second: float
    requests_per_second: float
    latency_ms: dict[str, float]


class IdPart(_Part):
    """An id of something that is missing or hidden, and how many rows name it."""

    id: int
    rows: int


class CausePart(_Part):
    """Rows that failed alike, and what to do about them.

    Attributes:
        ids: of what is missing, those that most rows name; none if the reason is another.
    """

    reason: str
    http_status: int | None
    count: int
    example_lines: tuple[int, ...]
    hint: str
    ids: tuple[IdPart, ...] = ()

    @property
    def words(self) -> str:
        """What is missing, by its ids, in a few words; empty if that is not what it is about."""
        if not self.ids:
            return ""
        side = "opportunity" if self.reason == OPPORTUNITY_MISSING else "contact"
        first, *others = [f"{one.id} is missing or hidden ({counted(one.rows, 'row')})" for one in self.ids]
        said = [f"{side} {first}", *(other.replace(" is missing or hidden", "") for other in others)]
        rest = self.count - sum(one.rows for one in self.ids)
        return ", ".join(said) + (f", others ({counted(rest, 'row')})" if rest else "")


class Report(_Part):
    """report.json; its keys are stable.

    Attributes:
        parent: the run whose rows this one has tried again; null if it is no retry.
        retries: runs that have tried again what this one left, oldest first.
        plan: the plan that it has carried out; null if there was none.
        verify: what the last verify found, as in its verify.json; null if there was none.
        rollback: what rollbacks did; null if there was none.
        limits: each change of a limit, and why: ``at, knob, from, to, reason``; of a long session the first
            and the last ones.
        sync: what a sync removed; null if it is none.
        sessions: starts of the program, the latest ones, in order; none of runs that were merged.
    """

    schema_version: int
    run_id: str
    status: RunStatus
    exit_code: int
    message: str
    portal: str
    input: InputPart
    counts: dict[str, int]
    requests: RequestsPart
    timing: TimingPart
    causes: tuple[CausePart, ...]
    files: dict[str, str]
    parent: str | None = None
    retries: tuple[str, ...] = ()
    plan: str | None = None
    verify: Verification | None = None
    rollback: RolledBack | None = None
    limits: tuple[dict[str, str | float], ...] = ()
    sync: SyncPart | None = None
    sessions: tuple[SessionPart, ...] = ()

    def to_json(self) -> str:
        """The report as indented JSON text."""
        return self.model_dump_json(indent=2) + "\n"


def build_report(reader: LedgerReader) -> Report:
    """Read the ledger and sum it up.

    The states always sum to the rows: each row of the ledger has exactly one, and none is counted elsewhere.
    """
    facts = reader.facts()
    states = reader.counts()
    rows = sum(states.values())
    sessions = reader.sessions()
    traffic = reader.traffic()
    seconds = sum(length for _, length, _ in sessions)
    tried = sum(
        states[s]
        for s in (
            *(Status.LINKED, Status.ALREADY_LINKED),
            *(Status.REJECTED, Status.RETRYABLE, Status.UNKNOWN),
        )
    )
    started = sessions[0][0] if sessions else 0.0
    finished = sessions[-1][0] + sessions[-1][1] if sessions else 0.0
    sync = sync_part(reader, facts)
    exit_code = exit_code_of(facts, states, sync)
    undone = rolled_back(reader)
    is_undone = (
        undone is not None
        and (undone.undone or undone.restored)
        and undone.rolled_back_at.timestamp() >= max(finished, pruned_at(reader) or 0.0)
    )
    more = (*VERIFY_FILES * ("verify" in facts), *ROLLBACK_FILES * (undone is not None))
    more += (REMOVED_CSV,) * (sync is not None and sync.prune is not None)
    return Report(
        schema_version=SCHEMA_VERSION,
        run_id=facts["run_id"],
        parent=facts.get("parent"),
        retries=tuple(facts.get("retries", ())),
        plan=facts.get("plan"),
        status="rolled_back" if is_undone else _run_status(facts, exit_code, sync),
        verify=facts.get("verify"),
        rollback=undone,
        limits=tuple(one for name in sorted(facts) if name.startswith(LIMITS) for one in facts[name]),
        sync=sync,
        exit_code=exit_code,
        message=facts.get("end_message", ""),
        portal=facts["portal"],
        input=InputPart(
            name=one_line(facts["input_name"]),
            kind=facts.get("input_kind", "file"),
            sha256=facts.get("input_sha256"),
            rows=rows,
            complete=facts.get("input_complete", False),
            blank=facts.get("input_blank", 0),
        ),
        counts={"rows": rows, **{str(status): count for status, count in states.items()}},
        requests=RequestsPart(
            attempts=traffic.attempts,
            retries=traffic.retries,
            retries_by_reason=traffic.retries_by_reason,
            looks=traffic.looks,
            throttled=traffic.throttled,
            paused_seconds=round(sum(paused for _, _, paused in sessions), 3),
            batches=traffic.batches,
            items=traffic.items,
            transport=facts.get("transport", ""),
            transport_reason=facts.get("transport_reason", ""),
        ),
        timing=TimingPart(
            started_at=datetime.fromtimestamp(started, UTC),
            finished_at=datetime.fromtimestamp(finished, UTC),
            seconds=round(seconds, 3),
            pairs_per_second=round(tried / seconds, 2) if seconds else 0.0,
            links_per_second=round(states[Status.LINKED] / seconds, 2) if seconds else 0.0,
            requests_per_second=round(traffic.attempts / seconds, 2) if seconds else 0.0,
            latency_ms=traffic.latency_ms,
        ),
        causes=causes_of(reader),
        files={name: name for name in (*FILES, *more)},
        sessions=() if facts.get("input_kind") == "merged" else latest_sessions(reader),
    )


def causes_of(reader: LedgerReader) -> tuple[CausePart, ...]:
    """Rows that failed alike, most frequent first."""
    return tuple(
        CausePart(
            reason=cause.reason,
            http_status=cause.http_status,
            count=cause.count,
            example_lines=cause.example_lines,
            hint=hint_for(cause.reason),
            ids=tuple(IdPart(id=id_, rows=count) for id_, count in cause.ids),
        )
        for cause in reader.causes()
    )


def exit_code_of(
    facts: Mapping[str, Any], states: Mapping[Status, int], sync: SyncPart | None = None
) -> Exit:
    """What the command says of a run: how it was ended, else what its rows say.

    Rows worth another try come before rows to be fixed: a script can act on the former by itself.
    """
    if facts.get("end_code"):
        return Exit(facts["end_code"])
    if "planned" in facts:  # what is to be linked is no row that is left
        states = {**states, Status.NOT_ATTEMPTED: 0}
    if "end_code" not in facts and not facts.get("input_complete"):
        return Exit.RETRYABLE  # killed while reading: there are rows that nobody has seen
    left = states[Status.RETRYABLE] or states[Status.UNKNOWN] or states[Status.NOT_ATTEMPTED]
    if left or (sync is not None and (sync.pending or sync.failed)):
        return Exit.RETRYABLE
    if sync is not None and sync.differs:
        return Exit.DIFFERENCES
    if states[Status.INVALID] or states[Status.REJECTED]:
        return Exit.REJECTED
    return Exit.OK


def _run_status(facts: Mapping[str, Any], exit_code: Exit, sync: SyncPart | None) -> RunStatus:
    if "end_code" not in facts or (facts["end_code"] == Exit.OK and sync is not None and sync.pending):
        # Never closed: the process was killed, and the report is made by another.
        return "interrupted"
    if "planned" in facts:
        return "planned"
    if exit_code is Exit.OK:
        return "completed"
    if facts["end_code"] == Exit.OK:
        return "completed_with_failures"
    return "interrupted" if exit_code in {Exit.SIGINT, Exit.SIGTERM, Exit.MAX_DURATION} else "aborted"
