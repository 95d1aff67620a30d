"""What there is to know about exit codes, states, files, queues and variables, as data.

README's tables of exit codes, states and files say the same; a test holds them together.
"""

from collections.abc import Iterator, Mapping

EXIT_CODES: Mapping[str, str] = {
    "0": "every row linked, now or before, or a duplicate of one that is",
    "1": "crash, or a disk that cannot be written; with `report --check`, something does not agree",
    "2": "usage, configuration, or an input that cannot be read (to its end)",
    "3": "finished; some rows invalid or rejected: see `rejected.csv`",
    "4": "stopped: more pairs failed than `--max-errors` allows",
    "5": "finished or stopped with rows worth another try: see `retry.csv` (wins over 3)",
    "6": (
        "authentication, permission, a server that is not the portal, or a portal or broker that is closed"
        " or not reachable"
    ),
    "7": "another process works on the same run, or links the same input at the same portal",
    "8": (
        "`verify` found differences, `rollback` kept links, `sync` withheld removals: see the `.csv` of that"
        " name, or `removed.csv`; a plan does not hold any more; with `plan --detailed-exitcode`, something"
        " is to be linked (wins over 3 and 5)"
    ),
    "10": "`--max-duration` reached; resume goes on",
    "130, 143": 'stopped by SIGINT, SIGTERM after a clean drain, unless the report says "at once";'
    " resume goes on",
}

STATES: Mapping[str, tuple[str, str]] = {
    "linked": ("this run made the call and the portal confirmed", "`linked.csv`, `contacts.jsonl`"),
    "already_linked": ("was there before; not sent", "`linked.csv`, `contacts.jsonl`"),
    "duplicate": ("same pair earlier in this input", "none (the first one is)"),
    "invalid": ("never a pair", "`rejected.csv`"),
    "rejected": (
        "the portal said no for good; which side it does not find is asked for",
        "`rejected.csv`",
    ),
    "retryable": ("attempts used up", "`retry.csv`"),
    "unknown": ("sent, no proof either way", "`retry.csv`"),
    "not_attempted": ("the run ended first", "`retry.csv`"),
}

_BOTH = "`rollback.csv`, `removed.csv`"

AFTERWARDS: Mapping[str, tuple[str, str]] = {
    "missing": ("the run says that the link is there, and it is not", "`verify.csv`"),
    "there_again": ("the link was removed, and is there again", "`verify.csv`"),
    "unread": ("nobody could look whether the link is there", "`verify.csv`"),
    "removed": ("the link was there, and is no more", _BOTH),
    "kept": ("the link was left as it is, and will be again; the reason says why", _BOTH),
    "gone": ("the link was not there any more", _BOTH),
    "there": ("the link is there; of one that was removed: somebody has made it again", _BOTH),
    "restored": ("the link that sync had removed was made again", _BOTH),
    "refused": ("the portal will not make the link again, whenever it is asked", _BOTH),
    "failed": ("the link could not be removed or made again: worth another try", _BOTH),
}
"""What verify, rollback and sync say of links of a run that has ended, and in which file."""

FILES: Mapping[str, str] = {
    "ledger.db": "the truth, from which all others can be made: one SQLite file",
    "contacts.jsonl": "a line for each link, with the Contact as the portal sent it",
    "linked.csv": "rows whose link is there: the columns of the input, and what became of the row",
    "rejected.csv": "rows to be mended (invalid, rejected); valid input once they are",
    "retry.csv": "rows worth another try (retryable, unknown, not_attempted), for 'bulklink retry RUN'",
    "report.json": "the report for scripts",
    "report.html": "the report for people, one page that works offline",
    "run.log": "what happened, a JSON object a line",
    "plan.json, plan.csv": "of a plan, beside ledger.db and run.log: what is to be done",
    "verify.json, verify.csv": "what verify found",
    "rollback.json, rollback.csv": "what rollback did",
    "removed.csv": "links that sync --prune removed, or withheld; valid input, to make them again",
}
"""What is in a run's folder."""

QUEUES = (
    ("redis://HOST:6379/0?stream=NAME", "a Redis stream; &group=NAME for its consumer group"),
    ("amqp://USER:PASSWORD@HOST:5672/VHOST?queue=NAME", "a RabbitMQ queue"),
    ("nats://HOST:4222?stream=NAME", "a NATS JetStream stream; &durable=NAME for its consumer"),
)

_QUEUES_SAID = (
    'A message is {"opportunity_id": 1234, "contact_id": 88}, with an "id" if you like, which is kept.',
    "It is acknowledged only after its outcome is durable.",
    "What can never be a link goes to NAME.dead, with the reason; 'bulklink dead QUEUE_URL' lists that.",
    "A URL with a password belongs in BULKLINK_QUEUE_URL, not on the command line.",
)

_ENVIRONMENT_SAID = "A flag wins over these, they win over the TOML file, that over the default."

Topic = tuple[list[tuple[str, str]], tuple[str, ...]]
"""Terms with what they mean, and what else there is to say."""


def topic(name: str) -> Topic:
    """What there is to know of one of :data:`TOPICS`."""
    return {
        "exit-codes": ([*EXIT_CODES.items()], ("Any other code means failure, too.",)),
        "files": ([*FILES.items()], ("All are in RUNS_DIR/RUN; only their owner may read them.",)),
        "states": (
            [(state, f"{meaning}; in {file}") for state, (meaning, file) in STATES.items()],
            ("Each row of the input ends in exactly one of them.",),
        ),
        "queues": ([*QUEUES], _QUEUES_SAID),
        "environment": ([*_variables()], (_ENVIRONMENT_SAID,)),
    }[name]


TOPICS = ("exit-codes", "files", "states", "queues", "environment")


def _variables() -> Iterator[tuple[str, str]]:
    from worker.settings import PREFIX, Settings, option_name  # noqa: PLC0415 - only for this topic

    for field, info in Settings.model_fields.items():
        yield f"{PREFIX}{option_name(field).upper()}", info.description or ""
    yield f"{PREFIX}CONFIG", "TOML file with any of the options."
