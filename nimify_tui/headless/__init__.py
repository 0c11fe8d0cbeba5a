"""The command line without a screen: the same engine, the same gate, data on stdout."""
