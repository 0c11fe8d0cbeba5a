"""Changes on Docker hosts."""
