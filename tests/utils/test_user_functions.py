"""Functions loaded from a user's Python file, and the messages for those that cannot be."""

import hashlib
import re

import pytest

from fdrl_jax.types import InputError
from fdrl_jax.utils.user_functions import function_of_file


def test_the_function_its_file_and_its_digest_are_returned(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("FACTOR = 3\ndef triple(x):\n    return FACTOR * x\n")
    function, file, digest = function_of_file(f"{path}:triple", "features")
    assert function(2) == 6
    assert file == path
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py:triple", "is not a Python file: is the path right?"),
        ("text.txt:triple", "is not a Python file: is the path right?"),
        ("broken.py:triple", "cannot be run (SyntaxError: "),
        ("failing.py:triple", "cannot be run (ZeroDivisionError: division by zero): fix it"),
        ("good.py:absent", "has no function 'absent': is the name right?"),
        ("good.py:FACTOR", "has no function 'FACTOR': is the name right?"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_refused(name, message, tmp_path):
    (tmp_path / "text.txt").write_text("def triple(x): return 3 * x\n")
    (tmp_path / "broken.py").write_text("def triple(x: return 3 * x\n")
    (tmp_path / "failing.py").write_text("1 / 0\n")
    (tmp_path / "good.py").write_text("FACTOR = 3\n")
    with pytest.raises(InputError, match=re.escape(message)) as error:
        function_of_file(f"{tmp_path / name}", "classifier")
    assert str(error.value).startswith(f"classifier '{tmp_path / name}': ")
    assert "\n" not in str(error.value)
