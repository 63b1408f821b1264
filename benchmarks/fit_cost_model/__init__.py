"""Fits the cost model's constants on the shared measurements, and scores it by leaving devices out.

Every module of an operation has two functions: `fit() -> dict` gives the json constants fitted on
all shared data of its operation, `score() -> list[dict]` rows of leave-one-device-out errors.
"""
