"""A portal to try things against: an HTTP server that answers as ONLYOFFICE CRM does, faults included.

It shares no code with the program it tests, so that a mistake in one cannot hide in the other.
"""

from worker.simulator.books import Books, Visit
from worker.simulator.edits import Edit
from worker.simulator.scenario import Auth, Detail, Holdings, Latency, Scenario, Throttle
from worker.simulator.server import Portal, serve
from worker.simulator.trouble import Fault, Outage

__all__ = [
    "Auth",
    "Books",
    "Detail",
    "Edit",
    "Fault",
    "Holdings",
    "Latency",
    "Outage",
    "Portal",
    "Scenario",
    "Throttle",
    "Visit",
    "serve",
]
