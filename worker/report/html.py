"""report.html: the report as one offline page."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from worker.models import Status
from worker.report.build import Report
from worker.sinks import replaced


def write_html(report: Report, path: Path) -> None:
    """Write the page; whatever comes from the input or the portal is escaped."""
    environment = Environment(
        loader=PackageLoader("worker", "report"), autoescape=True, undefined=StrictUndefined
    )
    rows = report.counts["rows"]
    states = [
        {
            "name": str(status),
            "count": report.counts[status],
            "share": report.counts[status] / rows * 100 if rows else 0,
        }
        for status in Status
    ]
    with replaced(path) as file:
        file.write(environment.get_template("page.html").render(report=report, states=states))
