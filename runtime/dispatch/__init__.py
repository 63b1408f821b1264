"""What a job does next: reducers and pure functions on its program and events; no I/O, no clock."""
