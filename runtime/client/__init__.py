"""The client of a gangline server: `Client` and `AsyncClient`, and a transport for tests."""
