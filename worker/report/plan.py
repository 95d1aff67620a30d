"""What a plan says: plan.json, plan.csv, and the words about it on the terminal."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from worker.errors import Exit, one_line
from worker.ledger import (
    LedgerReader,
    RowRecord,
    Scope,
    plan_counts,
    plan_digest,
    question_seconds,
    scope_of,
)
from worker.models import Status
from worker.operations.look import MOST_SOUGHT
from worker.quantities import counted
from worker.reasons import CONTACT_MISSING, OPPORTUNITY_MISSING, RUN_ENDED
from worker.report.build import CausePart, causes_of
from worker.sinks import form_of, write_records

PLAN_JSON, PLAN_CSV = "plan.json", "plan.csv"

TO_LINK = "to_link"
REFUSED = "refused"
UNREAD = "unread"

_MEANING = {
    TO_LINK: "not there yet",
    "already_linked": "there, and left as they are",
    OPPORTUNITY_MISSING: "the opportunity is missing, or this user may not see it",
    CONTACT_MISSING: "the contact is missing, or this user may not see it",
    REFUSED: "the portal says no",
    UNREAD: "the portal did not tell; plan again",
    "invalid": "never a pair",
    "duplicate": "same pair as an earlier line",
}
"""What a plan can say of a row, in the order in which it is read; these words are in plan.csv, too."""

_WORDS = {
    Status.NOT_ATTEMPTED: TO_LINK,
    Status.ALREADY_LINKED: "already_linked",
    Status.REJECTED: REFUSED,
    Status.RETRYABLE: UNREAD,
    Status.INVALID: "invalid",
    Status.DUPLICATE: "duplicate",
}

_WRONG = ("invalid", OPPORTUNITY_MISSING, CONTACT_MISSING, REFUSED)
"""What is wrong with a row that no run can link."""

_CAUSES_SHOWN = 6
_OPENINGS = 2
"""Times that the portal is opened to carry a plan out: to look again at all of it, and to link."""
_SPOKEN_IN_SECONDS = 120


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedInput(_Part):
    """What was read.

    Attributes:
        path: of the file; null if it was none that can be looked at again.
        sha256: of the whole file, also if only a part of it was read.
        limit: most rows that were to be read; null for all.
    """

    name: str
    path: str | None
    sha256: str | None
    rows: int
    blank: int
    limit: int | None


class Forecast(_Part):
    """What it takes to carry a plan out, with the limits and the transport that it was made with.

    Attributes:
        links: to be made.
        requests: about; what fails comes on top.
        seconds: about.
        words: how long, in words.
        rate: most requests in a window.
        learned_rate: requests a second that the portal was found to take, if they are fewer.
        link_rate: most links in a window; null for as many as come.
        most_together: operations that one request carries.
        in_flight: requests at once.
    """

    links: int
    requests: int
    seconds: int
    words: str
    rate: str
    learned_rate: float | None
    link_rate: str | None
    transport: str
    most_together: int
    in_flight: int


class ContactsPart(_Part):
    """Contacts that were asked for, each once: those of pairs whose link is not there."""

    asked: int
    missing: int
    untold: int


class Plan(_Part):
    """plan.json; its keys are stable.

    Attributes:
        requests: that it took to make it; all of them only read.
        counts: rows by what is planned for them, see README.
        checksum: over what is planned for each row, and at which portal.
    """

    schema_version: int = 1
    plan_id: str
    portal: str
    planned_at: datetime
    seconds: float
    requests: int
    throttled: int
    input: PlannedInput
    counts: dict[str, int]
    contacts: ContactsPart
    causes: tuple[CausePart, ...]
    forecast: Forecast
    checksum: str

    @property
    def exit_code(self) -> Exit:
        """What the command says of it, unless it is asked whether there are changes."""
        if self.counts[UNREAD]:
            return Exit.RETRYABLE
        return Exit.REJECTED if any(self.counts[word] for word in _WRONG) else Exit.OK

    def to_json(self) -> str:
        """The plan as indented JSON text; in a path a byte that is no UTF-8 is the escape of a surrogate."""
        try:
            return self.model_dump_json(indent=2) + "\n"
        except ValueError:  # it writes nothing that no strict reader takes
            return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"

    def detailed_exit_code(self) -> Exit:
        """What the command says of it if it is asked whether there are changes."""
        return Exit.DIFFERENCES if self.counts[TO_LINK] else self.exit_code

    def left(self, directory: str, code: Exit) -> str:
        """Why the command ends with this code, in one line; empty if that is 0.

        Rows that cannot be linked, or of which it is not known; those that can be, if they are asked for.
        """
        if not code:
            return ""
        words = (*((TO_LINK,) if code == Exit.DIFFERENCES else ()), *_WRONG, UNREAD)
        said = [f"{self.counts[word]:,} {word.replace('_', ' ')}" for word in words if self.counts[word]]
        return f"plan {self.plan_id}: exit code {code}: {', '.join(said)} ({directory}/{PLAN_CSV})"

    def summary(self, directory: str, do_it: str) -> list[str]:
        """A few lines; what no row is to become is left out.

        Args:
            directory: of the plan.
            do_it: the command that carries it out.
        """
        counts, forecast = self.counts, self.forecast
        width = len(f"{counts['rows']:,}")
        rows = f"{counts['rows']:>{width},} {'row' if counts['rows'] == 1 else 'rows'} in {self.input.name}"
        lines = [
            f"plan {self.plan_id}: {self.input.name} -> {self.portal}",
            *(
                f"  {counts[word]:>{width},} {word.replace('_', ' '):<19} {meaning}"
                for word, meaning in _MEANING.items()
                if counts[word]
            ),
            f"  {rows}; {counted(self.requests, 'request')}, which only read, in {self.seconds:,.1f} s",
        ]
        for cause in self.causes[:_CAUSES_SHOWN]:
            examples = ", ".join(map(str, cause.example_lines[:3]))
            dots = ", ..." if cause.count > len(cause.example_lines[:3]) else ""
            said = cause.words or cause.hint
            lines.append(f"  {cause.count:,} x {cause.reason}, line {examples}{dots}: {said}")
        if len(self.causes) > _CAUSES_SHOWN:
            lines.append(f"  and more causes in {PLAN_JSON}")
        lines.append(f"  the rows: {directory}/{PLAN_CSV}")
        if not forecast.links:
            lines.append("  nothing is to be linked")
            return lines
        together = f"up to {forecast.most_together} in one" if forecast.most_together > 1 else "each alone"
        pace = forecast.rate
        pace += f" (learned: {forecast.learned_rate:g}/s)" if forecast.learned_rate else ""
        pace += f", links at {forecast.link_rate}" if forecast.link_rate else ""
        effort = f"{counted(forecast.links, 'link')}, about {counted(forecast.requests, 'request')}"
        lines.append(f"  to carry it out: {effort} ({together}) at {pace}, about {forecast.words}")
        lines.append(f"  do it: {do_it}")
        return lines


def build_plan(reader: LedgerReader) -> Plan:
    """Read the ledger of a plan and sum it up.

    Raises:
        LedgerError: its rows and their states do not agree.
    """
    facts = reader.facts()
    made = facts["planned"]
    rows = sum(reader.counts().values())
    counts = {"rows": rows, **dict.fromkeys(_MEANING, 0)}
    for (status, reason), count in plan_counts(reader).items():
        counts[word_of(status, reason)] += count
    return Plan(
        plan_id=facts["run_id"],
        portal=facts["portal"],
        planned_at=datetime.fromtimestamp(made["at"], UTC),
        seconds=round(sum(length for _, length, _ in reader.sessions()), 3),
        requests=reader.traffic().attempts,
        throttled=reader.traffic().throttled,
        input=PlannedInput(
            name=one_line(facts["input_name"]),
            path=made["input_path"],
            sha256=made["input_sha256"],
            rows=rows,
            blank=facts.get("input_blank", 0),
            limit=made["limit"],
        ),
        counts=counts,
        contacts=ContactsPart(**made["contacts"]),
        causes=tuple(_cause(one) for one in causes_of(reader) if one.reason != RUN_ENDED),
        forecast=forecast_of(scope_of(reader, MOST_SOUGHT), made["pace"], question_seconds(reader)),
        checksum=plan_digest(reader),
    )


def word_of(status: Status, reason: str) -> str:
    """What a plan says of a row, in one word."""
    if status is Status.REJECTED and reason in {OPPORTUNITY_MISSING, CONTACT_MISSING}:
        return reason
    return _WORDS[status]


def forecast_of(scope: Scope, pace: dict[str, Any], seconds_each: float) -> Forecast:
    """What it takes to do so much.

    Whatever binds most decides: the rate of requests, that of links, or the time that the portal takes for
    the requests that may be on their way at once.

    Args:
        scope: what there is to do.
        pace: limits and transport.
        seconds_each: that the portal takes for a request.
    """
    together: int = pace["most_together"]
    contacts_together = pace["most_contacts"] if together > 1 else math.inf
    requests = _OPENINGS * (2 if pace["asks_for_batches"] else 1)
    for looks, links in ((scope.all_looks, scope.all_links), (scope.looks, scope.links)):
        requests += max(math.ceil(looks / together), math.ceil(links / contacts_together))
    requests += math.ceil(scope.contacts / together) + math.ceil(scope.links / together)
    seconds = max(
        requests / (pace["learned"] or pace["per_second"]),
        scope.links / pace["links_per_second"] if pace["links_per_second"] else 0.0,
        requests * seconds_each / pace["in_flight"],
    )
    whole = max(1, math.ceil(seconds))
    return Forecast(
        links=scope.links,
        requests=requests,
        seconds=whole,
        words=_spoken(whole),
        rate=pace["rate"],
        learned_rate=pace["learned"] and round(pace["learned"], 2),
        link_rate=pace["link_rate"],
        transport=pace["transport"],
        most_together=together,
        in_flight=pace["in_flight"],
    )


def write_plan_csv(reader: LedgerReader, path: Path) -> None:
    """Write all rows in input order, each with what is planned for it."""
    form = form_of(reader)
    write_records(
        path,
        form,
        ((row, _added(row)) for row in reader.rows(tuple(_WORDS))),
        extra=max(0, reader.most_cells(Status.INVALID) - len(form.columns)),
    )


def _cause(cause: CausePart) -> CausePart:
    # The rows of a plan are all in one file.
    return cause.model_copy(update={"hint": cause.hint.replace("rejected.csv", PLAN_CSV)})


def _added(row: RowRecord) -> tuple[object, ...]:
    reason = "" if row.status is Status.NOT_ATTEMPTED else row.reason
    return row.line, word_of(row.status, row.reason), row.http_status, reason, row.attempts


def _spoken(seconds: int) -> str:
    if seconds < _SPOKEN_IN_SECONDS:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
