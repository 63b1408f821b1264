"""Running jobs. Rooms from the bottom: dispatch, store, execution, service, server, cli.

docs/architecture.md says what each holds and what it may import.
"""
