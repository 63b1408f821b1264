"""One script per claim; each runs the peer and us in one run and keeps its last result."""

import os

# Products of small matrices gain nothing from a second thread, which spins while it waits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
