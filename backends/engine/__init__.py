"""The LLM engine: scheduler, block manager, models; driven by messages from one thread."""

from __future__ import annotations

import os

# OpenMP reads this once, when torch is loaded. Its default is to spin at barriers: with another
# busy process on the same cores a step then takes ten to fifty times as long (measured).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
