"""Run the scripts that made the golden files, with PyTorch, and compare with what is stored. `make test-parity`.

    python tests/goldens/check_goldens.py STATISTICS.pt

STATISTICS.pt is of `write_statistics`, from the covariance of frechet_features_b: torch.load must read it, and
torch-fidelity must take it for its own.
"""

import importlib
import multiprocessing
import pathlib
import sys
import tempfile

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
# Rounding of another CPU, relative to an array's largest entry.
TOLERANCE = 1e-5


def compare(stored: pathlib.Path, made: pathlib.Path) -> list[str]:
    """What differs, a line an array."""
    with np.load(stored) as old, np.load(made) as new:
        if set(old.files) != set(new.files):
            return [f"{stored.name}: other arrays, {sorted(set(old.files) ^ set(new.files))}"]
        return [f"{stored.name}: {name} differs" for name in old.files if not same(name, old[name], new[name])]


def same(name: str, old: np.ndarray, new: np.ndarray) -> bool:
    if name in ("versions", "torch_version"):
        return True
    if old.shape != new.shape or old.dtype != new.dtype:
        return False
    if old.dtype.kind != "f":
        return bool((old == new).all())
    return bool(np.abs(old.astype(np.float64) - new).max(initial=0) <= TOLERANCE * np.abs(old).max(initial=0))


def check(script: str, attribute: str, output: str, file: str) -> list[str]:
    """Run `script` with its output in another folder, and compare `file`."""
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: each script defines torchvision's operators anew.
        process = multiprocessing.get_context("spawn").Process(
            target=run, args=(script, attribute, f"{folder}/{output}")
        )
        process.start()
        process.join()
        if process.exitcode:
            return [f"{script}.py failed"]
        return compare(HERE / file, pathlib.Path(folder) / file)


def run(script: str, attribute: str, path: str) -> None:
    module = importlib.import_module(script)
    setattr(module, attribute, pathlib.Path(path))
    module.main()


def check_statistics(path: str) -> list[str]:
    from make_inception import inputs, metric_fid  # Which defines torchvision's operators.

    values = inputs.frechet_features("frechet_features_a")
    theirs = metric_fid.fid_features_to_statistics(torch.from_numpy(values))
    ours = torch.load(path, weights_only=False)
    with np.load(HERE / "inception.npz") as arrays:
        stored = float(arrays["frechet"])
    distance = metric_fid.fid_statistics_to_metric(theirs, ours, verbose=False)[metric_fid.KEY_METRIC_FID]
    print(f"{pathlib.Path(path).name}: torch-fidelity's distance {distance:.6f}, of its own statistics {stored:.6f}")
    part = metric_fid.fid_features_to_statistics(torch.from_numpy(values[:, :8].copy()))
    kept = torch.load(HERE / "fidelity_statistics.pt", weights_only=False)
    differences = [f"fidelity_statistics.pt: {name} differs" for name in part if not same(name, kept[name], part[name])]
    return differences if abs(distance - stored) <= TOLERANCE * stored else [*differences, f"{path}: another distance"]


def main() -> None:
    differences = [
        *check("make_inception", "OUTPUT", "inception.npz", "inception.npz"),
        *check("make_lite0", "OUTPUT", "lite0.npz", "lite0.npz"),
        *check("make_torchvision_resize", "OUTPUT", "torchvision_resize.npz", "torchvision_resize.npz"),
        *check("make_robust_resnet50", "OUTPUT", "robust_resnet50.npz", "robust_resnet50.npz"),
        *check("make_torch_files", "OUT", "torch_files", "torch_files/expected.npz"),
        *check_statistics(sys.argv[1]),
    ]
    for line in differences:
        print(line)
    print("other numbers than those stored" if differences else "the numbers stored are those that PyTorch gives")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
