"""Which fleet to rent or own for a workflow at a rate, and when the answer changes."""
