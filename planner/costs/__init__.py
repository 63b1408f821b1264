"""Fitted costs of single operations, engine steps and whole deployments on any device row."""
