"""The console: pages for people who govern, own, watch and pay; one file a page."""
