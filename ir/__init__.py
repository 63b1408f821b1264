"""Graph IR: modules, passes, lowering, the frozen `Program`, and the records all parts share."""
