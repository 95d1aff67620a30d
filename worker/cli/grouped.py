"""Help of a verb that takes many options: in groups, by what they are about, and with examples."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GROUPS: "Mapping[str, Sequence[str]]" = {
    "Input": ("columns", "delimiter", "sheet", "limit", "min_rows", "same_input_anyway"),
    "Portal": ("portal", "existing", "transport", "batch_size", "wire", "prune", "allow_removals"),
    "Pace": ("rate", "link_rate", "timezone", "shared_rate", "concurrency", "forget"),
    "Queue": ("drain", "results", "lease", "max_deliveries", "retry_delay", "wait_for_broker"),
    "Trouble": ("max_attempts", "max_errors", "max_duration", "give_up_after", "timeout", "grace"),
    "Way to the portal": ("allow_http", "ca_file", "client_cert", "client_key", "proxy"),
    "Run": ("runs_dir", "run_id", "unread", "dry_run", "detailed_exitcode", "contacts", "on_end"),
    "What is shown": ("json", "progress", "dashboard_port", "dashboard_host", "log_file", "quiet", "verbose"),
}
"""Options by their names, in the order in which help shows them; each in one group."""

_REST = "More"

_LEAST_BESIDE = 30
"""Characters that there must be for what an example is for, beside it; with fewer it stands below."""


class GroupedCommand(click.Command):
    """A verb whose help shows its options in groups.

    Args:
        examples: command lines, each with what it is for.
    """

    def __init__(self, *args: Any, examples: "Sequence[tuple[str, str]]" = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section for each group that has any."""
        group_of = {name: group for group, names in GROUPS.items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, _REST)}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections[group_of.get(param.name or "", _REST)].append(record)
        if not any(sections[group] for group in GROUPS):
            sections = {"Options": sections[_REST]}
        for group, records in sections.items():
            if records:
                with formatter.section(group):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and what else there is to read."""
        if self.examples:
            with formatter.section("Examples"):
                _write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


def _write_examples(examples: "Sequence[tuple[str, str]]", formatter: click.HelpFormatter) -> None:
    widest = max(len(line) for line, _ in examples)
    if formatter.width - formatter.current_indent - widest - 2 >= _LEAST_BESIDE:
        formatter.write_dl(list(examples), col_max=widest)
        return
    for line, meaning in examples:
        # A command line stays whole: it is there to be copied.
        formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        with formatter.indentation(), formatter.indentation():
            formatter.write_text(meaning)
