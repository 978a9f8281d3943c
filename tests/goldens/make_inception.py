"""Make inception.npz: what torch-fidelity's and torchvision's Inception v3 make of weights and images from a formula.

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0 torch-fidelity==0.4.0 pillow numpy tqdm
    python tests/goldens/make_inception.py

Weights and images are not stored: inception_inputs.py computes them, here and in tests/evaluation. And
fidelity_statistics.pt: statistics as torch-fidelity caches them.
"""

import hashlib
import json
import pathlib
import tempfile

import inception_inputs as inputs
import numpy as np
import torch
from torch.nn import functional

# torchvision's own operators are not in this build of PyTorch, and it insists on their names.
_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torch_fidelity  # noqa: E402
import torchvision  # noqa: E402
from torch_fidelity import metric_fid  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: E402
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x  # noqa: E402

OUTPUT = pathlib.Path(__file__).parent / "inception.npz"


def nchw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All tensors from the formula, those of the auxiliary head too."""
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    return {name: torch.from_numpy(tensor) for name, tensor in inputs.state_dict(shapes).items()}


def fidelity() -> torch.nn.Module:
    """torch-fidelity's extractor, whose weights must come from a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "weights.pth"
        plain = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
        torch.save(weights(plain), file)
        return FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(file))


def torchvision_features(images: np.ndarray) -> np.ndarray:
    """The paper's protocol: images in [0, 1], interpolated, through the blocks up to the average pool."""
    network = torchvision.models.inception_v3(init_weights=False, transform_input=True)
    network.load_state_dict(weights(network), strict=False)
    network.eval()
    network.fc = torch.nn.Identity()
    x = functional.interpolate((nchw(images) + 1) / 2, (299, 299), mode="bilinear", align_corners=False)
    return network(x).numpy()


@torch.no_grad()
def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    extractor = fidelity()
    for name, shape in inputs.SIZES.items():
        arrays[f"fid/{name}"] = extractor(nchw(inputs.images(name, shape)))[0].numpy()
        arrays[f"torchvision/{name}"] = torchvision_features(inputs.floats(name, shape))
    for name, size in inputs.RESIZES.items():
        x = nchw(inputs.images(name, (1, *size, 3))).float()
        resized = interpolate_bilinear_2d_like_tensorflow1x(x, (299, 299), align_corners=False)
        resized = np.ascontiguousarray(resized.numpy().transpose(0, 2, 3, 1))
        arrays[f"tensorflow1/{name}/sha256"] = np.array(hashlib.sha256(resized.tobytes()).hexdigest())
        arrays[f"tensorflow1/{name}"] = resized[0, ::23, ::19]
        half = functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
        arrays[f"half_pixel/{name}"] = half.numpy()[0, :, ::23, ::19].transpose(1, 2, 0)
    a, b = (inputs.frechet_features(name) for name in ("frechet_features_a", "frechet_features_b"))
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    arrays |= {"frechet_features_a": a, "frechet_features_b": b}
    arrays["frechet"] = np.array(
        metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]
    )
    torch.save(
        metric_fid.fid_features_to_statistics(torch.from_numpy(a[:, :8].copy())),
        OUTPUT.with_name("fidelity_statistics.pt"),
    )
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, torch_fidelity, np)}
    np.savez_compressed(OUTPUT, versions=json.dumps(versions), **arrays)
    print(f"{OUTPUT.name}: {len(arrays)} arrays, {OUTPUT.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
