"""What Alertmanagers have: asked now and then, told to the fleet when it is another."""
