"""Test pictures, and checks that the tests of all readers share."""

import numpy as np
import pytest
import real_files

from fdrl_jax.types import InputError

# Kinds of test pictures: computed ones, and emoji, which some machines do not have.
KINDS = ["computed", "emoji"]

# The classes of twelve pictures.
LABELS = np.arange(12) % 10


def pictures(kind="computed", count=12, height=32, width=32):
    return real_files.colour_pictures(kind, count, height, width)


def read_all(reader):
    return [np.asarray(reader.read(i)) for i in range(len(reader))]


def refusal(call, *words):
    """Check that `call` raises an InputError whose message is one line with all of `words`."""
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message


class Payload:
    """An object whose pickle calls `function` when it is loaded by Python's `pickle`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced
