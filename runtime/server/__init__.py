"""The HTTP server: routes over the service, and what keeps strangers out."""
