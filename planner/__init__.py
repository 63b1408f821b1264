"""Cost model and placement: which stage runs on which device, in how many seconds, for how much."""
