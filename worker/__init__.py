"""bulklink: makes (opportunity, contact) pairs links in an ONLYOFFICE CRM portal.

The path of a pair: ``sources`` -> ``judge`` -> ``supply`` -> ``ledger`` -> ``operations`` -> ``scheduler`` ->
``dispatch`` (a slot of ``limits``) -> ``portal`` -> ``operations`` -> ``ledger`` -> ``sinks`` and ``report``.
``run`` has a file for each verb and decides the order; ``cli`` has one for each, too, and only prints.
``api`` gives Python code the same path; what that imports is ``bulklink``, a folder of ``worker`` that is
installed under this name. ``doctor`` tells what has gone wrong with a cell, and mends it.

The words that the code uses, each for one thing:

row
    One record of the input, before anyone judged it. It has exactly one *state* in the report.
pair
    A row that names an opportunity and a contact. What can never be one is a *reject*.
link
    A pair as it is at the portal: the contact is among the *members* of the opportunity.
input
    What a run was told to read: a file, or a queue. Opened, it is a *supply*.
supply
    Brings rows into the ledger, hands out pairs, and settles what is owed for them when they have an outcome.
run
    All that is done about one input, and the directory that tells of it.
session
    What one process does of a run. ``resume`` begins another.
ledger
    The file in which a run keeps all that it knows; whatever else it writes can be made again from it.
intent
    The note that a pair is about to be sent. One without an outcome is *in doubt*.
operation
    What has to become true: a pair is linked, looked for, or unlinked. Pure; see :mod:`worker.operations`.
ask
    What an operation wants of the portal next.
look
    The question which of some contacts are members of one opportunity; it changes nothing.
exchange
    One HTTP request, with what it carried, and its answer. Gives one *attempt* for each operation.
attempt
    What one request says about one operation.
outcome
    The last word on a pair; the pair is then *settled*. An operation that is over was *concluded*.
reason
    The word for why an attempt failed or a row ended as it did, see :mod:`worker.reasons`.
lane
    A task that sends one request after the other. There are as many as permits.
slot
    The permission to send one request: a *permit* (so many at once), then a *turn* (so many a second).
hold
    Nobody sends, because the portal fails. A *pause* is the same because it asks for it.
pre-state
    What the portal held of a pair before this run first sent it.
site
    One portal with its limits, while something is done there.
observer
    Is told of requests or outcomes. A *side task* runs beside the work until that ends.
drain
    To begin nothing new, and finish what is on its way.
"""

__version__ = "0.1.0"
