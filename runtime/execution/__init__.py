"""Carrying jobs out: one loop with its drivers, tool threads, engines and the store."""
