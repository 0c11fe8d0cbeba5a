"""A real fleet on this machine: models, traffic and faults. It acts on processes and traffic only."""
