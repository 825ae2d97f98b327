"""The configuration: composed from ``conf/``, checked, explained, and turned into objects."""
