"""Machine translation of captions, for pseudo-parallel training and for queries in two languages.

It stands beside training and evaluation: it reads and writes captions (`data`) with models that are no
retrieval models, and only the command `translate` needs it.
"""
