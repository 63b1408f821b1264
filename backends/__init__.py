"""Devices that run stages: the LLM engine on torch, and the virtual backend of the simulator."""
