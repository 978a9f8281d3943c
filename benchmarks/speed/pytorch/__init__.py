"""The PyTorch code that fdrl_jax is compared with. The PyTorch process imports this package, so it imports nothing."""
