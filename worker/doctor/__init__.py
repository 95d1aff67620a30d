"""What goes wrong with tables of ids on their way through spreadsheets: how to tell, and what can be mended.

Pure, a cell or a row at a time; knows neither files nor the portal.
"""

from worker.doctor.diagnosis import EMPTY_IN_SHEET, HEADER_AGAIN, Finding, other_column, suspect, swallowed
from worker.doctor.mending import is_id, mended, recoded, visible

__all__ = [
    "EMPTY_IN_SHEET",
    "HEADER_AGAIN",
    "Finding",
    "is_id",
    "mended",
    "other_column",
    "recoded",
    "suspect",
    "swallowed",
    "visible",
]
