"""bulklink: makes (opportunity, contact) pairs links in an ONLYOFFICE CRM portal.

The path of a pair: ``sources`` -> ``plan`` -> ``ledger`` -> ``dispatch`` (``limiter``, ``retry``) ->
``portal`` -> ``ledger`` -> ``sinks`` and ``report``. ``run`` decides the order; ``cli`` only prints.
"""

__version__ = "0.1.0"
