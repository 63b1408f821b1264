"""The LLM engine: scheduler, block manager, models; driven by messages from one thread."""
