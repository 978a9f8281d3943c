"""shrink's digits, as a config file for commands in processes of their own."""

import shrink


def get_config():
    config = shrink.tiny_digits(num_steps=4)
    config.train.sample_every = 2
    return config
