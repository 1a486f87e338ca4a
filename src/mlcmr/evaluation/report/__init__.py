"""Results as a table, as figures and as an HTML page."""
