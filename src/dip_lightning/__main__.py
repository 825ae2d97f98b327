"""``python -m dip_lightning`` is ``dip``."""

from dip_lightning.cli import main

if __name__ == "__main__":
    main()
