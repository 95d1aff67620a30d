"""What to do about a cause: one sentence for each reason a row can fail for."""

from worker.portal.classify import HINTS, RENEWED

_INPUT = "Correct the cells in rejected.csv and run that file."

_OURS = {
    RENEWED: "The token ran out just then and has been renewed: a retry takes it.",
    "run_ended": "The run ended before this row's turn; going on with it takes it up.",
    "no_answer": "Sent, and no answer yet proves or excludes the link; going on looks for it.",
}


def hint_for(reason: str) -> str:
    """The hint for a reason; a reason that is nobody else's is what the input check says of a row."""
    return HINTS.get(reason) or _OURS.get(reason) or _INPUT
