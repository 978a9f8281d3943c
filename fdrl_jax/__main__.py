"""`python -m fdrl_jax`: the same as `python main.py` in a checkout."""

from fdrl_jax.cli import console

if __name__ == "__main__":
    console()
