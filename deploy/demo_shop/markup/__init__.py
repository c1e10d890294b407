"""How a page tells machines about its product: JSON-LD scripts, attributes in the body, meta tags, or not at all."""
