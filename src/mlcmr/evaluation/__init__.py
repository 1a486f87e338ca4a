"""From a model and a split to ranks, metrics, tables and reports."""
