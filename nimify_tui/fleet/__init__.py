"""The one store of facts; publishes immutable frames."""
