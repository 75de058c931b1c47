"""The areas' screens and their dialogs."""
