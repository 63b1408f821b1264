"""What operators see: metrics, traces and logs, all off the hot path."""
