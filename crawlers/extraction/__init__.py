"""HTML to product: JSON-LD, microdata, RDFa Lite and meta tags of one parsed tree, merged in that order of trust."""

from crawlers.extraction.merge import Extraction, extract

EXTRACTOR_VERSION = "1"
"""Changes whenever the same page may give another product."""

__all__ = ["EXTRACTOR_VERSION", "Extraction", "extract"]
