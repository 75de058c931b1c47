"""Widgets that draw nothing which has not changed."""
