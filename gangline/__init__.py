"""gangline: write an agentic workflow as Python functions, run it on the cheapest devices in time.

Public names are imported when they are first used, so that `import gangline` stays cheap.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
