"""The composition root: a file a verb, as in ``cli``, that opens, wires and closes what the verb needs.

Settings become plain values here and are seen nowhere below. What verbs share: how to get to the portal
(``access``), a session of a run and its ``pipeline``, going through the ``links`` of a run, the run
``directory`` and its ``files``, the ``log``, and the ``lifetime`` in which signals ask for a stop.
"""
