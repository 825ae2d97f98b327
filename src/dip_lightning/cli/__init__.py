"""The commands: ``dip``, ``dip-compare`` and ``dip-report``."""
