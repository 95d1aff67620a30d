"""What verify found: verify.json, and the words about it on the terminal."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from worker.errors import Exit
from worker.quantities import counted

VERIFY_CSV = "verify.csv"


EXAMPLES = 5


class NotAsClaimed(BaseModel):
    """A link that is not as the run says.

    Attributes:
        line: of the input; null for a link beyond it, which a sync removed.
        found: ``missing``, ``there_again`` or ``unread``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: int | None
    opportunity_id: int
    contact_id: int
    found: str


class Verification(BaseModel):
    """verify.json; its keys are stable.

    Attributes:
        claimed: links that the run says are there.
        missing: of these, not there.
        unread: of these, or of those removed, it cannot be told.
        removed: links that a rollback says are gone.
        back: of these, there again.
        pruned: links beyond the input that a sync says are gone.
        pruned_back: of these, there again.
        examples: the first links that are not as the run says; verify.csv has them all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    run_id: str
    portal: str
    verified_at: datetime
    seconds: float
    requests: int
    throttled: int
    claimed: int
    missing: int
    removed: int
    back: int
    unread: int
    pruned: int = 0
    pruned_back: int = 0
    examples: tuple[NotAsClaimed, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """Differences come first: whatever the rest would say, something is wrong."""
        if self.missing or self.back or self.pruned_back:
            return Exit.DIFFERENCES
        return Exit.RETRYABLE if self.unread else Exit.OK

    @property
    def words(self) -> str:
        """What it found, in a few words."""
        said = [f"{counted(self.claimed, 'link')} claimed, {self.missing:,} missing"]
        if self.removed:
            said.append(f"{counted(self.removed, 'link')} removed by rollback, {self.back:,} there again")
        if self.pruned:
            said.append(f"{counted(self.pruned, 'link')} removed by sync, {self.pruned_back:,} there again")
        if self.unread:
            said.append(f"{self.unread:,} could not be looked for")
        return "; ".join(said)

    def left(self, directory: str) -> str:
        """What is not as it should be, in one line; empty if all is."""
        if not self.exit_code:
            return ""
        return f"run {self.run_id}: exit code {self.exit_code}: {self.words} ({directory}/{VERIFY_CSV})"

    def to_json(self) -> str:
        """The verification as indented JSON text."""
        return self.model_dump_json(indent=2) + "\n"

    def summary(self, directory: str) -> list[str]:
        """A few lines."""
        claimed = f"{counted(self.claimed, 'link')} claimed, {self.missing:,} missing"
        effort = f"{counted(self.requests, 'request')} in {self.seconds:,.1f} s"
        lines = [f"run {self.run_id}: {claimed}; {effort}"]
        if self.removed:
            lines.append(f"  {counted(self.removed, 'link')} removed by rollback, {self.back:,} there again")
        if self.pruned:
            lines.append(
                f"  {counted(self.pruned, 'link')} removed by sync, {self.pruned_back:,} there again"
            )
        if self.unread:
            lines.append(f"  {self.unread:,} could not be looked for; verify again")
        if self.exit_code:
            lines.append(f"  the rows: {directory}/{VERIFY_CSV}")
        return lines
