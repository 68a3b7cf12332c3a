"""Serve: from a model version to replicas and a route. Decides; touches nothing."""
