"""Files of mean and covariance: written and read back, files of torch-fidelity, and damaged files.

Covers: `features.statistics_files`.
"""

import pickle
import zipfile

import inception_inputs as inputs
import numpy as np
import pytest
from paths import GOLDENS

from fdrl_jax.evaluation import features
from fdrl_jax.types import InputError


def mean_and_covariance(d=5, seed=0):
    draws = np.random.default_rng(seed).standard_normal((50, d))
    return draws.mean(axis=0), np.cov(draws, rowvar=False)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_statistics_round_trip(tmp_path, suffix):
    mean, covariance = mean_and_covariance()
    path = tmp_path / f"statistics{suffix}"
    features.write_statistics(path, mean, covariance)
    read_mean, read_covariance = features.read_statistics(path)
    assert read_mean.dtype == read_covariance.dtype == np.float64
    np.testing.assert_array_equal(read_mean, mean.astype(np.float32) if suffix == ".pt" else mean)
    np.testing.assert_array_equal(read_covariance, covariance)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_statistics_of_torch_fidelity():
    """The file was written by torch-fidelity's own function and torch.save."""
    mean, covariance = features.read_statistics(GOLDENS / "fidelity_statistics.pt")
    values = inputs.frechet_features("frechet_features_a")[:, :8]
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(values, rowvar=False), rtol=1e-12)


def test_statistics_in_fortran_order_are_read(tmp_path):
    """numpy pickles an array in Fortran's order without reordering it."""
    mean, _ = mean_and_covariance()
    matrix = np.asfortranarray(np.diag(np.arange(5.0)) + 1e-5 * np.triu(np.ones((5, 5)), 1))
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"mu": mean, "sigma": matrix}, 2))
    np.testing.assert_array_equal(features.read_statistics(tmp_path / "x.pt")[1], matrix)


def write_npz(path, arrays):
    np.savez(path, **arrays)


def write_pt(path, arrays):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(arrays, 2))


@pytest.mark.parametrize(("suffix", "write"), [(".npz", write_npz), (".pt", write_pt)])
def test_bad_statistics_are_refused(tmp_path, suffix, write):
    mean, covariance = mean_and_covariance()
    skewed = covariance.copy()
    skewed[0, 1] += 0.1
    path = tmp_path / f"statistics{suffix}"
    for message, arrays in {
        "has no 'sigma'": {"mu": mean},
        r"has 'mu' \[4\] and 'sigma' \[5, 5\]": {"mu": mean[:4], "sigma": covariance},
        r"has 'mu' \[5, 1\]": {"mu": mean[:, None], "sigma": covariance},
        "has 'mu' that is not all finite": {"mu": mean * np.nan, "sigma": covariance},
        "has 'sigma' that is not all finite": {"mu": mean, "sigma": covariance.astype(np.int64)},
        "has 'sigma' that is not symmetric": {"mu": mean, "sigma": skewed},
    }.items():
        write(path, arrays)
        with pytest.raises(InputError, match=message):
            features.read_statistics(path)
    write(path, {"mu": mean, "sigma": covariance})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        features.read_statistics(path)
    path.write_bytes(whole.replace(covariance.tobytes()[:8], b"\0" * 8, 1) if suffix == ".npz" else whole[:200])
    with pytest.raises(InputError, match="is damaged"):
        features.read_statistics(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        features.read_statistics(path)


def test_statistics_with_a_wrong_shape_in_the_pickle_are_refused(tmp_path):
    mean, covariance = mean_and_covariance()
    data = pickle.dumps({"mu": mean, "sigma": covariance}, 2)
    (tmp_path / "x.pt").write_bytes(data.replace(b"K\x05K\x05\x86", b"K\x05K\x06\x86"))
    with pytest.raises(InputError, match=r"a numpy array of shape \[5, 6\] has 200 bytes"):
        features.read_statistics(tmp_path / "x.pt")


def test_no_code_in_a_statistics_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    write_pt(tmp_path / "x.pt", {"mu": Evil(), "sigma": 1})
    with pytest.raises(InputError, match=r"is refused: it refers to '__builtin__.print'"):
        features.read_statistics(tmp_path / "x.pt")


def test_statistics_cannot_be_written_with_another_suffix_or_without_a_folder(tmp_path):
    mean, covariance = mean_and_covariance()
    for path in (tmp_path / "x.csv", tmp_path / "x"):
        with pytest.raises(InputError, match=r"are .npz files of pytorch-fid or .pt files of torch-fidelity"):
            features.write_statistics(path, mean, covariance)
    with pytest.raises(InputError, match="cannot be written"):
        features.write_statistics(tmp_path / "no folder" / "x.npz", mean, covariance)
