"""A Docker host as a source."""
