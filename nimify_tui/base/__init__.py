"""The leaf that every room stands on: errors, clocks, foreign text, retry, files, the audit writer."""
