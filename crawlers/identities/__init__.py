"""How a request looks that passes for a person's browser."""
