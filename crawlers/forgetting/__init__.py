"""`scrapy records forget`: what Seine's topics hold of a product, and how it goes. docs/privacy.md says what stays."""
