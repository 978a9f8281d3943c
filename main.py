"""Train, sample, evaluate and more: see `fdrl_jax/cli.py`, or `python main.py --help`."""

from fdrl_jax.cli import console

if __name__ == "__main__":
    console()
