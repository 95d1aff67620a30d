"""What a run cannot be gone on with: another portal, another rate, or a plan that was never carried out."""

from collections.abc import Mapping
from typing import Any

from worker.errors import UsageError
from worker.run.directory import RunDirectory
from worker.settings import Settings


def refuse_other_access(directory: RunDirectory, settings: Settings, facts: Mapping[str, Any]) -> None:
    """Refuse to take a plan for a run; and what :func:`refuse_other_portal` refuses.

    Raises:
        UsageError: it is one, or that.
    """
    refuse_plan(directory, settings, facts)
    refuse_other_portal(directory, settings, facts)


def refuse_plan(directory: RunDirectory, settings: Settings, facts: Mapping[str, Any]) -> None:
    """Refuse to go on with, try again, verify or undo what has done nothing yet.

    Raises:
        UsageError: it is a plan.
    """
    if "planned" in facts:
        what = settings.command("run", str(directory.path / "plan.json"))
        raise UsageError(f"{directory.run_id} is a plan, and no run; to carry it out: {what}")
    if "plans" in facts:
        raise UsageError(f"{directory.run_id} is a plan that was never done: plan again")


def refuse_other_portal(directory: RunDirectory, settings: Settings, facts: Mapping[str, Any]) -> None:
    """Refuse to send what one run has left to another portal, or at a rate of its own if it shared one.

    Raises:
        UsageError: it would be.
    """
    if settings.portal != facts["portal"]:
        raise UsageError(f"run {directory.run_id} is for {facts['portal']}, not for {settings.portal}")
    if facts.get("shared_rate") and settings.shared_rate is None:
        raise UsageError(
            f"run {directory.run_id} shares its rate through {facts['shared_rate']}:"
            " name it again, with --shared-rate or BULKLINK_SHARED_RATE"
        )
