"""Readers of images on disk, one module for each format.

A reader lists its images when it is made, and decodes an image when that is read.
To add a format: write a module here with a function that returns an `ArrayReader` (images in an array), an
`EncodedReader` (PNG, JPEG or WebP), or any other `Reader`, and export the function here.
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
