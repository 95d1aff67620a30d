"""Which queue a verb is to speak to."""

from worker.errors import UsageError
from worker.settings import Settings


def queue_url_of(word: str | None, settings: Settings) -> str:
    """The word on the command line, else ``BULKLINK_QUEUE_URL`` or ``queue_url`` of the file.

    Raises:
        UsageError: there is none.
    """
    if word:
        return word
    if settings.queue_url is None:
        raise UsageError("no queue: give QUEUE_URL or set BULKLINK_QUEUE_URL")
    return settings.queue_url.get_secret_value()
