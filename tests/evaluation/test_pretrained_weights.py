"""Files of pretrained weights: cache, download and check of the digest.

Covers: `features.pretrained_weights`.
"""

import hashlib
import http.server
import pickle
import threading

import numpy as np
import pytest
import safetensors.numpy
from paths import GOLDENS

from fdrl_jax.evaluation import features
from fdrl_jax.evaluation.features import pretrained_weights
from fdrl_jax.types import InputError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FDRL_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The URL of a running web server, and the folder that it serves."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "web"))

        def log_message(self, *args):
            pass

    (tmp_path / "web").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", tmp_path / "web"
        running.shutdown()
        thread.join()


def serve(server, monkeypatch, content, prefix=None):
    """Serve `content` as the weights of "inception", and return the name of the file."""
    name = f"net-{prefix or hashlib.sha256(content).hexdigest()[:8]}.pth"
    (server[1] / name).write_bytes(content)
    monkeypatch.setitem(pretrained_weights.URLS, "inception", (f"{server[0]}/{name}",))
    return name


def test_weights_are_downloaded_once(cache, server, monkeypatch):
    name = serve(server, monkeypatch, b"some bytes")
    assert pretrained_weights.find_weights("inception") == cache / name
    assert (cache / name).read_bytes() == b"some bytes"
    (server[1] / name).unlink()
    assert pretrained_weights.find_weights("inception") == cache / name
    assert [file.name for file in cache.iterdir()] == [name]


def test_wrong_download_is_not_kept(cache, server, monkeypatch):
    serve(server, monkeypatch, b"some bytes", "0123abcd")
    with pytest.raises(
        InputError, match=r"net-0123abcd.pth has SHA-256 [0-9a-f]{8}..., not 0123abcd...: it is damaged"
    ):
        pretrained_weights.find_weights("inception")
    assert list(cache.iterdir()) == []


def test_without_internet_the_error_names_the_address_and_the_folder(cache, server, monkeypatch):
    name = serve(server, monkeypatch, b"some bytes")
    (server[1] / name).unlink()
    with pytest.raises(InputError) as error:
        features.get("inception")
    assert f"{server[0]}/{name}" in str(error.value)
    assert str(cache) in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.setitem(pretrained_weights.URLS, "inception", ("http://127.0.0.1:9/net-0123abcd.pth",))
    with pytest.raises(InputError, match="cannot be downloaded"):
        pretrained_weights.find_weights("inception")


def test_the_cache_is_searched_for_both_names_of_a_file(cache):
    cache.mkdir()
    file = cache / "weights-inception-2015-12-05-6726825d.pth"
    file.write_bytes(b"")
    assert pretrained_weights.find_weights("inception") == file


def test_the_digest_in_the_name_of_a_users_file_is_checked(tmp_path):
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"has SHA-256 [0-9a-f]{8}..., not 6726825d"):
        features.get("inception", path)
    with pytest.raises(InputError, match=r"missing.pth is not a file"):
        features.get("inception", tmp_path / "missing.pth")


def test_weights_are_read_with_their_digest(tmp_path):
    tensors = {"a": np.arange(3, dtype=np.float32)}
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(tensors, path)
    read, digest = pretrained_weights.read_weights(path)
    np.testing.assert_array_equal(read["a"], tensors["a"])
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        pretrained_weights.read_weights(path)
    read, _ = pretrained_weights.read_weights(GOLDENS / "torch_files" / "state_dict.pt")
    assert "conv1.weight" in read
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1], 2))
    with pytest.raises(InputError, match="holds a list, not the tensors of a network"):
        pretrained_weights.read_weights(tmp_path / "list.pth")
