"""Images on disk, format by format: what is there is listed at once, pictures are decoded when they are read.

To add a format: a module here with a function that returns an `ArrayReader` (all pixels are at hand) or an
`EncodedReader` (PNG, JPEG or WebP), or any other `Reader`; export it here.
"""

from fdrl_jax.data.readers.arrays import arrays as arrays
from fdrl_jax.data.readers.base import ArrayReader as ArrayReader
from fdrl_jax.data.readers.base import EncodedReader as EncodedReader
from fdrl_jax.data.readers.base import Reader as Reader
from fdrl_jax.data.readers.celeba import celeba as celeba
from fdrl_jax.data.readers.cifar import cifar10 as cifar10
from fdrl_jax.data.readers.folder import folder as folder
from fdrl_jax.data.readers.idx import idx as idx
from fdrl_jax.data.readers.lsun import lsun as lsun
from fdrl_jax.data.readers.tfds import TfdsReader as TfdsReader
from fdrl_jax.data.readers.tfds import tfds as tfds
