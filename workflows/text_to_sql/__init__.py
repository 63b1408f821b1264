"""Questions answered from a database."""
