"""The job service: tenants, admission, fair sharing, recovery. No HTTP in here."""
