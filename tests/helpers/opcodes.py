"""Files in the format of torch.save, put together opcode by opcode, also such as PyTorch never writes."""

import pickle
import zipfile

DISTRIBUTION_NAME = "torch.distributions.multivariate_normal.MultivariateNormal"
DISTRIBUTION = b"c" + DISTRIBUTION_NAME.rpartition(".")[0].encode() + b"\nMultivariateNormal\n"


def body(value):
    """The opcodes that put `value` on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def write_zip(path, data, members=None, compression=zipfile.ZIP_STORED):
    """Write a zip file of torch.save with the opcodes `data` and other members by name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + data + b".")
        for name, content in (members or {}).items():
            archive.writestr(f"archive/{name}", content)


def storage(count, kind=b"FloatStorage"):
    """The opcodes of a storage of `count` numbers, member "data/0"."""
    return b"(" + body("storage") + b"ctorch\n" + kind + b"\n" + body("0") + body("cpu") + body(count) + b"tQ"


def tensor(count, offset, size, stride, source=None):
    """The opcodes of a tensor that is a view of `storage(count)`, or of the object that the opcodes `source` build."""
    args = (source or storage(count)) + body(offset) + body(size) + body(stride) + b"\x89N"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + args + b"tR"
