"""The widgets: what they draw, what they cost, what hostile text does to them."""
