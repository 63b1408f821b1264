"""Placement under an end-to-end deadline and fleet sizing: bounds, solutions, proven gaps."""
