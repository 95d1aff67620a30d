"""``bulklink check INPUT --fix OUT.csv``: a mended copy of an input, and what is in that."""

from worker.cli.check import check
from worker.errors import UsageError
from worker.quantities import counted
from worker.run.fix import FixResult, fix, parse_also
from worker.settings import Settings
from worker.sources import shown


def check_mended(
    input_path: str, output: str, also: str | None, settings: Settings, *, asks_portal: bool
) -> int:
    """Mend an input, then judge the copy as a run would read it; gives the exit code of that.

    Args:
        input_path: path of the input; ``-`` is standard input.
        output: path of the copy.
        also: names of what is mended besides, with commas between.
        settings: all options.
        asks_portal: the portal is asked, too, about the copy.

    Raises:
        UsageError: an option does not go with mending.
        InputError: the input cannot be read to its end; nothing is written.
        OutputError: the copy cannot be written; nothing is.
    """
    names = parse_also(also)
    if settings.limit is not None:
        raise UsageError("--fix mends the whole input; leave --limit out")
    result = fix(input_path, output, settings, names)
    facts = {
        "input": result.name,
        "output": str(result.output),
        "fixes": str(result.fixes),
        "rows": result.rows,
        "mended": result.mended,
        "left": result.left,
        "not_text": result.not_text,
        "rules": dict(result.rules),
    }
    return check(
        output,
        settings.model_copy(update={"sheet": None}),
        asks_portal=asks_portal,
        first=_spoken(result),
        facts={"fix": facts},
    )


def _spoken(result: FixResult) -> list[str]:
    counts = [
        counted(result.rows, "row"),
        f"{result.mended:,} mended",
        f"{result.left:,} left as they are" if result.left != 1 else "1 left as it is",
    ]
    lines = [f"{shown([result.name])}: {', '.join(counts)}; each change is in {result.fixes}"]
    if result.rules:
        lines.append(f"  {', '.join(f'{count:,} x {rule}' for rule, count in result.rules.items())}")
    if result.not_text:
        lines.append(
            f"  {counted(result.not_text, 'cell')} with bytes that are not UTF-8, kept as they are:"
            " --fix-also cp1252 (Western) or cp1251 (Cyrillic) reads them in that code page"
        )
    return lines
