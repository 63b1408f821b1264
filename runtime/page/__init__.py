"""The page people watch jobs in: one HTML file, one style, small scripts, served as they are."""
