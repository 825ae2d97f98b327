"""``python -m dip_lightning`` is ``dip``."""

from dip_lightning.cli.main import main

if __name__ == "__main__":
    main()
