"""``bulklink check INPUT``: what is in an input, without a network unless a portal is named."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from random import Random
from types import MappingProxyType
from typing import Any

import click

from worker.cli.completing import files
from worker.cli.grouped import GroupedCommand
from worker.cli.options import CHECK, INPUT, settings_options
from worker.cli.output import complain, pour, say
from worker.errors import Exit, InputError, TooFewRows, UsageError, WorkerError, one_line
from worker.quantities import counted
from worker.run.check import CheckResult, Fault, Suspicion, checked
from worker.run.sample import Sample
from worker.settings import Settings, load_settings
from worker.sources import CONTACT, OPPORTUNITY, Source, open_source, shown

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_SPOKEN_IN_SECONDS = 120

_FIX = "Write (or replace) a mended copy, and fixes.csv beside it; what could mean two things is left."
_FIX_ALSO = "Mend these, too: cp1252 or cp1251 (text in that code page), thousands (1 234), duplicates."


@click.command("check", cls=GroupedCommand)
@click.argument("input_path", metavar="INPUT", shell_complete=files)
@click.option("--fix", metavar="OUT.csv", help=_FIX, shell_complete=files)
@click.option("--fix-also", metavar="NAME,...", help=_FIX_ALSO)
@settings_options(*CHECK, *INPUT, "as_json", "quiet", of="check")
def command(input_path: str, fix: str | None, fix_also: str | None, **flags: Any) -> int:
    """Read INPUT and judge every row; sends nothing and leaves nothing behind.

    With --fix a mended copy is written and judged instead, and fixes.csv beside it lists what was changed.

    With --portal on the command line it also asks the portal whom it takes us for, what it can, and whether
    a sample of the ids exists. Nothing is changed there.

    Exit code 0 if every row is a pair or a duplicate of one, 3 if some are invalid or ids of the sample are
    missing, 6 if the portal is not to be reached or refuses us.
    """
    settings = load_settings(flags)
    # A portal of the environment or a file is for other verbs: whoever does not name one here stays offline.
    asks_portal = flags["portal"] is not None
    if fix is None:
        if fix_also is not None:
            raise UsageError("--fix-also says what --fix OUT.csv mends besides; give both")
        return check(input_path, settings, asks_portal=asks_portal)
    from worker.cli.fix import check_mended  # noqa: PLC0415 - brings in what a check alone does not need

    return check_mended(input_path, fix, fix_also, settings, asks_portal=asks_portal)


def check(
    input_path: str,
    settings: Settings,
    *,
    asks_portal: bool,
    first: Sequence[str] = (),
    facts: Mapping[str, object] = MappingProxyType({}),
) -> int:
    """Judge an input and print the result; gives the exit code.

    Args:
        input_path: path of the input; ``-`` is standard input.
        settings: all options.
        asks_portal: the portal of the settings is asked, too, whether it would do.
        first: lines to print before.
        facts: what to say besides, to a script.

    Raises:
        InputError: the input cannot be read, or not to its end: then the result is of what was read.
        WorkerError: the portal would not do; the result of the input is printed before.
    """
    sample = Sample(Random(0)) if asks_portal else None  # noqa: S311 - the same ids each time, guards nothing
    with (
        _opened(input_path, settings) as source,
        checked(source, settings.limit, sample) as result,
    ):
        lines = [*first, f"{source.name}: {_counts(result)}", f"  {_form(result)}"]
        if result.not_utf8.cells and not first:
            lines.append(f"  {_not_utf8(result)}")  # of a mended copy it was just said
        if settings.portal and settings.dry_run and result.pairs:
            lines.append(f"  {_plan(result.pairs, settings)}")
        asked = None
        if sample is not None and not result.broken:
            asked = _ask_portal(settings, sample)
        if settings.as_json:
            say(settings, *lines, *(asked.lines if asked else ()))
            pour(_json(result, asked, facts))
        elif not settings.quiet:
            found = map(_spoken_finding, result.found())
            pour(map(one_line, chain(lines, found, asked.lines if asked else ())))
        if result.broken:
            raise InputError(result.broken)
        if result.rows < (settings.min_rows or 0):
            raise TooFewRows(source.name, result.rows, settings.min_rows or 0)
        if asked and asked.error:
            raise asked.error
        wrong = _wrong(result, asked)
        if wrong and settings.quiet:
            complain(f"{source.name}: exit code {Exit.REJECTED}: {wrong}")
        return Exit.REJECTED if wrong else Exit.OK


@dataclass(frozen=True, slots=True)
class _Asked:
    """What came of asking the portal: in words, for scripts, and the error if it would not do."""

    lines: list[str]
    facts: dict[str, Any]
    missing: int = 0
    error: WorkerError | None = None


def _ask_portal(settings: Settings, sample: Sample) -> _Asked:
    from worker.cli import preflight  # noqa: PLC0415 - brings in aiohttp
    from worker.run.preflight import look_at_portal  # noqa: PLC0415 - same

    try:
        found = look_at_portal(settings, sample, partial(_wait, settings))
    except WorkerError as error:
        return _Asked([], preflight.failed(settings.portal or "", str(error)), error=error)
    return _Asked(preflight.in_words(found), preflight.as_object(found), found.missing)


def _wait(settings: Settings, note: str) -> None:
    if note:
        say(settings, note)


def _wrong(result: CheckResult, asked: _Asked | None) -> str:
    """What makes the exit code another than 0, in a few words; empty if nothing does."""
    missing = asked.missing if asked else 0
    said = [
        f"{result.invalid:,} invalid" if result.invalid else "",
        f"{counted(missing, 'id')} of the sample missing or hidden" if missing else "",
    ]
    return ", ".join(filter(None, said))


def _counts(result: CheckResult) -> str:
    """What there is, and no zeros; of an input without rows that it has none."""
    counts = [
        counted(result.rows, "row") if result.rows else "no rows",
        counted(result.pairs, "pair") if result.pairs else "",
        counted(result.duplicates, "duplicate") if result.duplicates else "",
        f"{result.invalid:,} invalid" if result.invalid else "",
        counted(result.blank, "blank line") if result.blank else "",
    ]
    return ", ".join(filter(None, counts))


def _form(result: CheckResult) -> str:
    """Which columns hold the ids, and how the input is written."""
    source = result.source
    parts = []
    for which in (OPPORTUNITY, CONTACT):
        column = source.ids.get(which.role)
        if column is None:
            parts.append(f"no {which.name}")
        else:
            number = "" if column.number is None else f" (column {column.number})"
            parts.append(f"{which.name}: {shown([column.name])}{number}")
    ids = f"{', '.join(parts)}; {'' if source.has_header else 'no header, '}"
    if source.format == "xlsx":
        return f"{ids}sheet {shown([source.sheet])}"
    dialect = source.dialect
    written = "an object a line" if source.format == "jsonl" else _DELIMITERS.get(dialect.delimiter)
    encoding = ("UTF-8" if dialect.encoding == "utf-8" else "UTF-16") + (" with a BOM" if dialect.bom else "")
    if result.not_utf8.cells:
        encoding += f" but for {_cells(result)}"
    return f"{ids}{written or shown([dialect.delimiter])}, {encoding}"


def _cells(result: CheckResult) -> str:
    # A line of JSON with such bytes is none, and has no cells.
    return counted(result.not_utf8.cells, "line" if result.source.format == "jsonl" else "cell")


def _not_utf8(result: CheckResult) -> str:
    """Where the first cell is that is not UTF-8, and what mends it."""
    found, one = result.not_utf8, result.not_utf8.cells == 1
    what = f"{_cells(result)} with bytes that are not UTF-8, "
    first = "" if one else "the first in "
    if result.source.format == "jsonl":
        return f"{what}{first}line {found.line}: save the file as UTF-8"
    if found.line is None:
        # By its number: its name is what cannot be read.
        where = f"the header (column {result.source.columns.index(found.column) + 1})"
    else:
        where = f"line {found.line}" + (f" ({shown([found.column])})" if found.column else "")
    it = ("it is", "in ", "it") if one else ("they are", "", "them")
    return (
        f"{what}kept as {it[0]}, {it[1]}{first}{where}: check --fix OUT.csv --fix-also cp1252 (Western)"
        f" or cp1251 (Cyrillic) reads {it[2]} in that code page"
    )


def _opened(input_path: str, settings: Settings) -> Source:
    """The input.

    Raises:
        InputError: it cannot be read; with what would mend that, if anything would.
    """
    try:
        return open_source(
            input_path, columns=settings.columns, delimiter=settings.delimiter, sheet=settings.sheet
        )
    except InputError as error:
        from worker.run.fix import way_out  # noqa: PLC0415 - brings in what a check alone does not need

        if way := way_out(input_path, settings):
            raise InputError(f"{error}. But {way}") from error
        raise


def _spoken_finding(found: Fault | Suspicion) -> str:
    where = f"  line {found.line}: "
    if isinstance(found, Suspicion):
        return f"{where}{shown([found.column])} {shown([found.text])}: {found.advice}"
    return f"{where}{found.reason}" + (f": {shown([found.text])}" if found.text else "")


def _json(result: CheckResult, asked: _Asked | None, more: Mapping[str, object]) -> Iterator[str]:
    """The same for scripts; a fault a line, for there may be millions."""
    source = result.source
    dialect = asdict(source.dialect)
    facts = {
        **more,
        "name": source.name,
        "format": source.format,
        "header": source.has_header,
        "columns": source.columns,
        "ids": {role: {"name": one.name, "number": one.number} for role, one in source.ids.items()},
        **({"delimiter": dialect["delimiter"]} if source.format == "csv" else {}),
        **({"sheet": source.sheet} if source.format == "xlsx" else {}),
        **{name: dialect[name] for name in ("encoding", "bom", "line_end") if source.format != "xlsx"},
        **{
            name: getattr(result, name)
            for name in ("rows", "blank", "pairs", "duplicates", "invalid", "broken")
        },
        **({"not_utf8": asdict(result.not_utf8)} if source.format != "xlsx" else {}),
        **({"portal": asked.facts} if asked else {}),
    }
    yield json.dumps(facts, indent=2).removesuffix("\n}") + ",\n"
    yield from _json_list("faults", result.faults())
    yield ",\n"
    yield from _json_list("suspicions", result.suspicions())
    yield "}"


def _json_list(name: str, found: Iterable[Fault | Suspicion]) -> Iterator[str]:
    """A list of the object, a line each."""
    yield f'  "{name}": ['
    last = ""
    for one in found:
        if last:
            yield f"{last},"
        last = f"    {json.dumps(asdict(one))}"
    yield from filter(None, (last, "  ]"))


def _plan(pairs: int, settings: Settings) -> str:
    """What a run would send, and how long it would take at least, if that is long enough to speak of."""
    portal, rate = settings.portal, settings.rate
    what = f"would send {counted(pairs, 'request')} to {portal}"
    if settings.existing == "check":
        what = f"would look for {counted(pairs, 'pair')} at {portal} and send what is not there"
        pairs *= 2
        what += f": at most {pairs:,} requests"
    what += f" at {rate}"
    if seconds := int(pairs / rate.fastest.per_second):
        none = " if none is there" if settings.existing == "check" else ""
        what += f", in {_spoken(seconds)} or more{none}"
        what += "" if settings.transport == "single" else "; a fraction of that in batches"
    return what


def _spoken(seconds: int) -> str:
    if seconds < _SPOKEN_IN_SECONDS:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
