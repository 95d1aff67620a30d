"""The words for why something happened to a pair, and for each what to do about it.

Reports, retries and scripts go by these words, so they are stable. What an input check says of a row is a
sentence of its own and stands in no list (:mod:`worker.judge`).
"""

from collections.abc import Mapping

RENEWED = "token_renewed"
"""Of a 401 that was answered with a new token: it says nothing about the pair (contract 6.5)."""

NOT_FOUND = "not_found"
"""Of the API's own 404: the entity is not there for us (contract 4.5)."""

OPPORTUNITY_MISSING = "opportunity_missing"
"""Of such a 404, once it is known that the opportunity is what is not there for us (contract 4.6)."""

CONTACT_MISSING = "contact_missing"
"""The same of the contact."""

BAD_REQUEST = "bad_request"
"""Of a 400 that is not the API's own: said of an address, and perhaps not of another spelling of it
(contract 10.4)."""

SERVER_ERROR = "server_error"
"""Of an HTTP 500: often the pair's own fault, so it is repeated less than a proxy's 502."""

PERHAPS_LINKED = "perhaps_linked"
"""Of AppServer's HTTP 500 to a link: said of one that is there already, and when it fails (contract 4.2)."""

INTERNAL_FAULT = "internal_fault"
"""Of a 403 that hides an internal fault (contract 3.2): one repeat tells whether it was one."""

NOT_STORED = "not_stored"
"""Of a look at the members that shows no such link; decides, and is never the reason of a row."""

RUN_ENDED = "run_ended"
"""Of a row that was not sent before the run ended."""

NO_ANSWER = "no_answer"
"""Of a row that was sent, and whose answer was not heard before the run ended."""

PRE_STATE_UNREAD = "pre_state_unread"
"""Of a link that is kept: nobody looked whether it was there before the run."""

ANOTHER_CONTACT = "another_contact"
"""Of a link that is kept: another contact has got the id of the one that was linked (contract 4.9)."""

TOUCHED_SINCE = "touched_since"
"""Of a link that is kept: another run has made or removed it since, so that whoever made it last did."""

NO_OPPORTUNITY = "no_opportunity"
"""Of a link that is kept: its opportunity is deleted, or hidden from this user."""

INCOMPLETE = "incomplete_list"
"""Of an opportunity that is not touched: its list of members does not add up, so it may not be whole."""

INVALID_ROW = "invalid_row"
"""Of an opportunity that is not touched: a row of the input names it, and no contact that can be read."""

REJECTED_ROW = "rejected_row"
"""Of an opportunity that is not touched: the portal refused one of its rows for good."""

PRIMARY = "primary_contact"
"""Of a link that is kept: its contact is the opportunity's primary one, or is shown like it
(contract 2.4)."""

WITHHELD = "withheld"
"""Of a link that a sync would remove, and did not: why is said of all of them together."""

STILL_THERE = "still_there"
"""Of a link that is there after the portal said that it removed it."""

TIMEOUT = "timeout"
"""Of a request that got no answer in time."""

TOO_LARGE = "body_too_large"
"""Of an answer that was not read to its end, for nothing that is asked for is so large."""

NO_ITEM = "no_item"
"""Of a pair that a batch came back without an answer for."""

BLOCKED = "blocked_by_proxy"
"""Of a 403 or 407 that is not the API's own."""

UNAVAILABLE = "unavailable"
MAINTENANCE = "maintenance"
"""Of a 503 that says nothing of our pace: with some text, and without any. Between successes they come from a
proxy that finds us too fast; without any success, from a portal that is down or closed (contract 3.4)."""

BUSY_OR_CLOSED = frozenset({UNAVAILABLE, MAINTENANCE})

HINTS: Mapping[str, str] = {
    NO_ITEM: "A batch came back without an answer for this pair, and no look could tell; a retry may.",
    "error_in_success": "The portal reported success and an error at once; a retry asks again.",
    "wrong_id": "The answer does not show the contact that was asked for; a retry asks again.",
    "html_200": "A web page came instead of an answer of the API; look for a proxy or a login page between.",
    "empty_body": "The portal reported success but showed no contact; a retry asks again.",
    "odd_body": "The body is no answer of the API; look for a proxy between, then retry.",
    "redirected": "The address redirects elsewhere; give the portal's own https address as the base URL.",
    "bad_argument": "The portal does not accept one of the ids; check that both are ids of this portal.",
    BAD_REQUEST: "Something before the API calls the address malformed; if it stays, check the base URL.",
    "unauthorized": "The token or password is missing, wrong or expired; give a valid one.",
    "payment_required": "The portal's subscription has ended; it has to be renewed.",
    "address_not_allowed": "The portal does not let this IP address in; have it added to the allowed ones.",
    BLOCKED: "A proxy or firewall before the portal refuses us; ask its owner to let us through.",
    "proxy_password": "The proxy wants a name and a password; set its URL with them in BULKLINK_PROXY.",
    INTERNAL_FAULT: "The portal failed inside and called it a refusal; if it stays, see the portal's log.",
    "access_denied": "The user may not touch this opportunity or contact; run with a user who may.",
    "crm_not_allowed": "The CRM module is off for this user, or the user is a guest; run with a CRM user.",
    "forbidden": "The portal refuses this pair to this user; run with a user who has the right.",
    NOT_FOUND: "The opportunity or the contact does not exist, or this user may not see it.",
    OPPORTUNITY_MISSING: "The opportunity does not exist, or this user may not see it.",
    CONTACT_MISSING: "The contact or its status does not exist any more, or this user may not see it.",
    "portal_gone": "No active portal answers under this name; check that it is right and not suspended.",
    "no_such_route": "Something answers there, but not the CRM API; check the base URL.",
    "request_not_accepted": "The server does not take the request at all; check the base URL and proxies.",
    "request_timeout": "The server waited too long for the request; if it stays, lower the concurrency.",
    "too_early": "The server wants the request again later; nothing was stored.",
    "throttled": "The portal asked to slow down; if it is frequent, set a lower rate.",
    "refused": "The portal refuses this request, and would refuse it again; its status says why.",
    "not_the_api": "Something answers in the place of the CRM API; check the base URL, its port and proxies.",
    MAINTENANCE: "The portal is being moved, restored or encrypted, or has too much to do; try again later.",
    UNAVAILABLE: "The portal was not available for a while, or had too much to do; try again later.",
    "gateway_error": "The proxy got no answer from the portal in time; the portal may have stored the link.",
    "not_supported": "The portal does not know this kind of request; its version may be too old.",
    "server_page": "A web page says that the portal failed, or the address is wrong; check it, then retry.",
    SERVER_ERROR: "The portal failed while it worked on the pair; if it stays so, see the portal's log.",
    PERHAPS_LINKED: "AppServer failed, or the link is there already: it says the same of both.",
    "odd_status": "The status is none that HTTP knows for an answer; look for a proxy between.",
    "cannot_connect": "No connection came about, nothing was sent; check name, network and certificate.",
    "timeout": "No answer came in time; the portal may have stored the link. A longer time-out may help.",
    "connection_lost": "The connection broke after sending; the portal may have stored the link.",
    "body_cut": "Only a part of the answer came; the portal may have stored the link.",
    TOO_LARGE: "The answer is far larger than a contact can be; look for what answers in its place.",
    RENEWED: "The token ran out just then and has been renewed: a retry takes it.",
    RUN_ENDED: "The run ended before this row's turn; going on with it takes it up.",
    NO_ANSWER: "Sent, and no answer yet proves or excludes the link; going on looks for it.",
}
"""What to do, for each word that can be the reason of a row."""

HINTS_OF_READS: Mapping[str, str] = {
    "error_in_success": "The portal reported success and an error at once; see the portal's log.",
    "wrong_id": "The answer is not what was asked for; check the base URL.",
    "empty_body": "The answer is empty; look for a proxy between.",
    "odd_body": "The body is no answer of the API; look for a proxy between.",
    "gateway_error": "The proxy got no answer from the portal in time.",
    "server_page": "A web page says that the portal failed, or the address is wrong; check it.",
    SERVER_ERROR: "The portal failed while it answered; if it stays, see the portal's log.",
    "timeout": "No answer came in time; a longer time-out may help.",
    "connection_lost": "The connection broke before the answer came; look for what is between.",
    "body_cut": "Only a part of the answer could be read; look for a proxy between.",
}
"""The same for a request that stores nothing, where the sentence would speak of a link that may be stored."""

HINTS_OF_ROLLBACK: Mapping[str, str] = {
    PRE_STATE_UNREAD: "nobody looked whether they were there before; --unread removes them, too",
    TOUCHED_SINCE: "another run has made or removed them since, so they are not this run's any more",
    ANOTHER_CONTACT: "the contact was deleted, and another one has got its id",
    NO_OPPORTUNITY: "the opportunity is deleted, or hidden from this user",
    NOT_FOUND: "the portal does not find the contact, or this user may not see it",
}
"""Why links were kept or not removed, where the word alone does not say it."""

_OF_INPUT = "Correct the cells in rejected.csv and run that file."


HINTS_OF_SYNC: Mapping[str, str] = {
    INCOMPLETE: "the list of members does not add up: it may have changed while it was read; sync again",
    INVALID_ROW: "a row names the opportunity and no contact that can be read: correct it, then sync again",
    REJECTED_ROW: "the portal refused a row of the opportunity: see rejected.csv, then sync again",
    PRIMARY: "it is the opportunity's primary contact; choose another one in the portal first",
    WITHHELD: "the removals were withheld; the report says why",
}
"""Why opportunities were not touched by a sync, or links kept."""


def hint_for(reason: str) -> str:
    """What to do about the reason of a row; one that is nobody else's is what the input check says of it."""
    return HINTS.get(reason, _OF_INPUT)
