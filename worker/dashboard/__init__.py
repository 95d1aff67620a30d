"""The live page of a run: how it goes, in a browser, while it works; buttons to pause and slow it down.

Nothing is imported here: ``about`` is for everyone, what serves the page only for who has one.
"""
