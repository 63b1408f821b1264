"""The front end: decorators, tracing and the built-in workflows."""
