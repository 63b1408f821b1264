"""Running jobs: dispatcher, store, clock, simulator, model files, command line."""
