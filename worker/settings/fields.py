"""Every option, spelled once: its type, bounds, default and help.

Flags, ``BULKLINK_*`` variables, keys of the TOML file, ``--help`` and the table in README are derived from
the fields below.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PrivateAttr, SecretStr

from worker.settings.values import (
    DOCUMENTED,
    AutoOrNumber,
    Columns,
    FailedPairs,
    FilePath,
    LinkRateByTime,
    PortalUrl,
    ProxyUrl,
    RateByTime,
    RunId,
    SavedPath,
    Seconds,
    SheetName,
    WholeNumber,
    ZoneName,
)

PREFIX = "BULKLINK_"


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting looks on the command line.

    Attributes:
        metavar: what stands for the value in help; empty for a switch.
        short: a one-letter form, such as ``-n``.
        secret: never a flag, never saved, never shown.
        saved: written to the ledger, so that resume goes on as the run began.
        again: verbs that, if it was a flag, need it again when they are told to go on with the same run.
        help_of: what it does in verbs where that is something else than elsewhere.
    """

    metavar: str = ""
    short: str = ""
    secret: bool = False
    saved: bool = False
    again: tuple[str, ...] = ()
    help_of: Mapping[str, str] = field(default_factory=dict)


class Settings(BaseModel):
    """What a command was told, from all places."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # An alias is the option's name; pydantic's own attribute names are taken.
        validate_by_name=False,
    )

    portal: Annotated[
        PortalUrl,
        Option(
            "URL",
            saved=True,
            help_of={"check": "Ask this portal, too, whether it would do; changes nothing there."},
        ),
    ] = Field(default=None, description="Address of the portal, such as https://portal.example.com.")
    token: Annotated[SecretStr | None, Option(secret=True)] = Field(
        default=None, description="API token of the portal."
    )
    token_file: Annotated[FilePath | None, Option(secret=True)] = Field(
        default=None, description="File that holds the token; read again when the portal no longer takes it."
    )
    username: Annotated[str | None, Option(secret=True)] = Field(
        default=None, description="User name to log in with, instead of a token."
    )
    password: Annotated[SecretStr | None, Option(secret=True)] = Field(
        default=None, description="Password of that user."
    )
    password_file: Annotated[FilePath | None, Option(secret=True)] = Field(
        default=None, description="File that holds the password."
    )
    rate: Annotated[RateByTime, Option("auto|N/TIME", saved=True)] = Field(
        default=DOCUMENTED,
        description="Most requests of any kind in a window of that length: 50/s, 500/10s, 1500/min; or by the"
        " time of day: 08:00-19:00=5/s,50/s; auto is 500/10s. Throttled, it is less for a while.",
    )
    link_rate: Annotated[LinkRateByTime, Option("N/TIME", saved=True)] = Field(
        default=None,
        description="Most links (and removals) in a window, however many go in one request; as --rate.",
    )
    timezone: Annotated[ZoneName, Option("NAME", saved=True)] = Field(
        default=None,
        description="Where the times of rates are meant, like Europe/Berlin; this machine's if not set.",
    )
    shared_rate: Annotated[
        SecretStr | None,
        Option("URL", again=("run", "resume", "retry", "work", "verify", "rollback")),
    ] = Field(
        default=None, description="Redis in which all processes that name it keep to one --rate together."
    )
    concurrency: Annotated[
        AutoOrNumber, PlainSerializer(lambda value: value or "auto"), Option("auto|N", saved=True)
    ] = Field(
        default=None,
        ge=1,
        le=256,
        description="Requests in flight at once; auto is as many as make it faster, up to 16, or 4 batches.",
    )
    existing: Annotated[Literal["check", "post"], Option("check|post", saved=True)] = Field(
        default="check",
        description="Look first what the portal holds, and send only what it does not; or just send (post).",
    )
    prune: Annotated[Literal["own", "all"] | None, Option("own|all")] = Field(
        default=None,
        description="Remove links that the input does not name, of opportunities that it names: those that"
        " runs in this folder made (own), or any (all).",
    )
    allow_removals: Annotated[WholeNumber | None, Option("N")] = Field(
        default=None,
        ge=1,
        description="Remove so many links, exactly, even if that is more than 10 and more than 10 % of all.",
    )
    transport: Annotated[Literal["auto", "batch", "single"], Option("auto|batch|single", saved=True)] = Field(
        default="auto",
        description="Many pairs in one request where the portal takes batches (auto), or one in each.",
    )
    batch_size: Annotated[AutoOrNumber, Option("auto|N", saved=True)] = Field(
        default=None,
        ge=2,
        le=200,
        description="Most pairs in a batch; auto is as many as the portal answers in 3 seconds, up to 200.",
    )
    wire: Annotated[Literal["json", "xml"], Option("json|xml", saved=True)] = Field(
        default="json", description="Form in which the portal is asked to answer."
    )
    contacts: Annotated[Literal["full", "ids", "none"], Option("full|ids|none", saved=True)] = Field(
        default="full",
        description="What contacts.jsonl keeps of a link: its Contact, or the two ids; none keeps no line.",
    )
    max_attempts: Annotated[WholeNumber, Option("N", saved=True)] = Field(
        default=5, ge=1, le=100, description="Most tries of a pair; being throttled is not one."
    )
    max_errors: Annotated[FailedPairs, Option("N|P%", saved=True)] = Field(
        default=None,
        description="Stop when more pairs than that have failed: a number, or a share like 5% (from 100 on).",
    )
    max_duration: Annotated[
        Seconds | None,
        Option("TIME", help_of={"work": "Stop after that time; what is left goes to other workers."}),
    ] = Field(default=None, gt=0, description="Stop after that time; resume goes on.")
    give_up_after: Annotated[Seconds, Option("TIME", saved=True)] = Field(
        default=900.0,
        gt=0,
        description="Stop when the portal has failed or throttled for that long, or asks to wait for longer.",
    )
    timeout: Annotated[Seconds, Option("TIME", saved=True)] = Field(
        default=30.0, gt=0, le=3600, description="Longest wait for the answer to one request."
    )
    grace: Annotated[Seconds, Option("TIME", saved=True)] = Field(
        default=25.0, ge=0, le=3600, description="Time that requests in flight get when the run is stopped."
    )
    allow_http: Annotated[bool, Option(saved=True)] = Field(
        default=False, description="Allow plain http:// to a portal that is not on this machine."
    )
    ca_file: Annotated[SavedPath | None, Option("FILE", saved=True)] = Field(
        default=None, description="Certificates (PEM) of authorities to trust besides the system's."
    )
    client_cert: Annotated[SavedPath | None, Option("FILE", saved=True)] = Field(
        default=None, description="Certificate (PEM) to show to a portal that wants one, with its key."
    )
    client_key: Annotated[SavedPath | None, Option("FILE", saved=True)] = Field(
        default=None, description="Key (PEM) of that certificate, if it is in a file of its own."
    )
    proxy: Annotated[ProxyUrl, Option("URL|env", saved=True)] = Field(
        default=None,
        description="HTTP proxy to the portal; env for HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
    )
    columns: Annotated[Columns, Option("opportunity=NAME,contact=NAME", saved=True)] = Field(
        default=None,
        description="Columns that hold the two ids, if their names are unusual: names, or numbers like #3.",
    )
    delimiter: Annotated[str | None, Option("CHAR", saved=True)] = Field(
        default=None, description="What separates cells: , ; | or tab; found from the first line if not set."
    )
    sheet: Annotated[SheetName, Option("NAME|N", saved=True)] = Field(
        default=None,
        description="Sheet of an Excel workbook, by name or by number; its first one if not set.",
    )
    limit: Annotated[
        WholeNumber | None,
        Option(
            "N",
            saved=True,
            help_of={"work": "Stop after so many messages.", "dead": "So many messages, the oldest first."},
        ),
    ] = Field(default=None, ge=1, description="Read only the first N rows of the input.")
    min_rows: Annotated[WholeNumber | None, Option("N", saved=True)] = Field(
        default=None, ge=1, description="Refuse an input of fewer rows before anything is sent (exit code 2)."
    )
    forget: Annotated[bool, Option()] = Field(
        default=False,
        description="Begin without what earlier runs have learned of the portal, and drop that.",
    )
    same_input_anyway: Annotated[bool, Option()] = Field(
        default=False,
        description="Go on although another run links the same input at the same portal just now.",
    )
    queue_url: Annotated[SecretStr | None, Option(secret=True)] = Field(
        default=None, description="Queue for work, publish and dead, instead of the word on the command line."
    )
    drain: Annotated[bool, Option()] = Field(default=False, description="Stop when the queue is empty.")
    results: Annotated[SecretStr | None, Option("URL")] = Field(
        default=None, description="Queue to publish each outcome on, with its Contact."
    )
    lease: Annotated[Seconds, Option("TIME")] = Field(
        default=60.0,
        ge=1,
        le=86400,
        description="After that time the messages of a worker that died go to others; a live one renews it.",
    )
    max_deliveries: Annotated[WholeNumber, Option("N")] = Field(
        default=10, ge=1, le=1000, description="Give a message up after it was handed out so often."
    )
    retry_delay: Annotated[Seconds, Option("TIME")] = Field(
        default=30.0,
        gt=0,
        le=900,
        description="A message worth another try comes again after that time, doubled at each delivery.",
    )
    wait_for_broker: Annotated[Seconds, Option("TIME")] = Field(
        default=0.0,
        ge=0,
        description="How long to wait at the start for a broker or a queue that is not there yet.",
    )
    runs_dir: Annotated[
        FilePath, Option("DIR", again=("run", "resume", "retry", "work", "verify", "rollback", "report"))
    ] = Field(default=Path("runs"), description="Folder that holds a folder for each run.")
    run_id: Annotated[
        RunId, Option("ID", help_of={"report": "Name of the run that several are merged into."})
    ] = Field(default=None, description="Name of the new run; made from the time if not set.")
    unread: Annotated[bool, Option()] = Field(
        default=False,
        description="Remove also links of which nobody looked whether they were there before.",
    )
    dry_run: Annotated[
        bool,
        Option(
            short="-n",
            help_of={
                "runs": "Say what --prune would remove, and remove nothing.",
                "rollback": "Say how many links would be removed, and remove none.",
                "sync": "Say what would be added and removed; only read at the portal.",
            },
        ),
    ] = Field(
        default=False,
        description="Judge the input, ask the portal whether it would do, link nothing, leave no run behind.",
    )
    detailed_exitcode: Annotated[bool, Option()] = Field(
        default=False, description="Exit code 8 if there is anything to link, whatever else is wrong."
    )
    as_json: Annotated[
        bool,
        Option(
            help_of={
                "check": "Print the result as JSON.",
                "plan": "Print plan.json.",
                "verify": "Print verify.json.",
                "sync": "Print report.json; with --dry-run what would be added and removed.",
                "rollback": "Print rollback.json; with --dry-run the two counts.",
                "runs": "Print report.json of each run, a line each.",
                "status": "Print the report as it stands now.",
                "publish": "Print publish.json.",
                "explain": "Print each as JSON, a line each.",
                "dead": "Print each message with its reason as JSON, a line each.",
            }
        ),
    ] = Field(default=False, alias="json", description="Print report.json on standard output.")
    progress: Annotated[Literal["auto", "bar", "plain", "none"], Option("auto|bar|plain|none")] = Field(
        default="auto", description="How to show progress; auto is a bar on a terminal and lines elsewhere."
    )
    dashboard_port: Annotated[WholeNumber | None, Option("N", again=("resume", "retry", "work"))] = Field(
        default=None,
        ge=0,
        le=65535,
        description="Serve a live page on this port, which shows how it goes, pauses it and slows it down; 0"
        " is any free one.",
    )
    dashboard_host: Annotated[str, Option("HOST", again=("resume", "retry", "work"))] = Field(
        default="127.0.0.1",
        description="Where the live page listens. Beyond this machine whoever reaches it can read it.",
    )
    on_end: Annotated[str | None, Option("COMMAND", again=("resume", "retry"))] = Field(
        default=None,
        description="Shell command that gets report.json on its standard input when the run has ended.",
    )
    log_file: Annotated[FilePath | None, Option("FILE")] = Field(
        default=None,
        description="Where the log goes instead of run.log in the run directory; - is standard error.",
    )
    quiet: Annotated[bool, Option(short="-q")] = Field(
        default=False, description="Print nothing but errors (and --json)."
    )
    verbose: Annotated[bool, Option(short="-v")] = Field(
        default=False, description="Log every attempt, and the traceback of a crash."
    )

    _again: tuple[tuple[tuple[str, ...], str, str], ...] = PrivateAttr(default=())

    def repeating(self, flags: Iterable[tuple[tuple[str, ...], str, str]]) -> Self:
        """The same settings, whose :meth:`command` has these flags: verbs (none: all), name, value."""
        self._again = tuple(flags)
        return self

    def command(self, verb: str, *words: str) -> str:
        """A command line to be typed next, with what this one was told and that one has to be told, too."""
        again = [part for verbs, *flag in self._again if not verbs or verb in verbs for part in flag]
        return shlex.join(["bulklink", verb, *words, *again])

    def to_save(self) -> dict[str, Any]:
        """What a resumed run goes on with, as JSON values; never a secret."""
        names = {name for name, option in options().items() if option.saved}
        return self.model_dump(mode="json", include=names)


def options() -> dict[str, Option]:
    """The command-line side of each setting, by field name."""
    found: dict[str, Option] = {}
    for name, info in Settings.model_fields.items():
        found[name] = next(item for item in info.metadata if isinstance(item, Option))
    return found


def option_name(field: str) -> str:
    """The name of a setting in the environment and the file: ``run_id``, ``json``."""
    return Settings.model_fields[field].alias or field
