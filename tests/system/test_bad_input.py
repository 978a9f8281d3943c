"""Bad input, row by row: one line that names the thing, its value and the remedy, at once, and nothing is touched.

A row of `COMMANDS` is a command line and what the line on standard error must contain; a row of `CALLS` is an
expression of Python and what its ValueError must say. `$word`s are filled in from `WORDS` and `places`.
"""

import json
import os
import pathlib
import shlex
import shutil
import string
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import real_files
import shrink
from paths import GOLDENS, ROOT
from PIL import Image

from configs import fashion_translation
from fdrl_jax import cli

# Beginnings of command lines.
FAR = "--config=configs/gaussians.py:far-fdrl"
WORDS = {
    "FAR": FAR,
    "TRAIN": f"{FAR} --workdir=$tmp/run",
    "DIGITS": "--config=configs/digits.py --workdir=$tmp/run",
    "CIFAR": "--config=configs/cifar10.py --workdir=$tmp/run --config.data.path=$tmp/nothing",
    "FOLDER": "--config=configs/emoji64.py --workdir=$tmp/run --config.data.cache=$tmp/cache",
    "CLASSIFIER": "--mode=train_classifier --config=configs/classifier.py:digits --workdir=$tmp/run",
    "SAMPLE": "--mode=sample --workdir=$points --out=$tmp/s.npz",
    "OF_DIGITS": "--mode=sample --workdir=$digits --out=$tmp/s.npz",
    "LABEL": "--mode=sample --workdir=$digits --out=$tmp/s.npz --label=1 --classifier=$tmp/bright.py:f",
    "TRANSLATE": "--mode=translate --workdir=$fashion --out=$tmp/translated",
    "EVALUATE": "--mode=evaluate --workdir=$digits",
    "FIGURES": "--mode=figures --workdir=$points",
    "EXPORT": "--mode=export --workdir=$digits --out=$tmp/exported",
    "HOSTS": f"{FAR} --workdir=$tmp/run --coordinator=localhost:1",
}

# fmt: off
COMMANDS = [
    # --- flags of all modes ---
    ("", "--workdir is missing", "the directory of the run"),
    ("--workdir=$tmp/run", "--config is missing", "For example --config=digits"),
    ("$FAR", "--workdir is missing", "the directory of the run"),
    ("$FAR --workdir=", "--workdir is missing", "the directory of the run"),
    ("--config=configs/nope.py --workdir=$tmp/run", "--config=configs/nope.py cannot be loaded", "there is no such file"),
    ("--config=$tmp/broken.py --workdir=$tmp/run", "broken.py cannot be loaded", "invalid syntax (broken.py, line 1)"),
    ("--config=$tmp --workdir=$tmp/run", "--config=$tmp", "is a folder: name a file in it"),
    ("--config=$tmp/raises.py --workdir=$tmp/run", "raises.py cannot be loaded", "No module named 'nowhere'", "correct the file"),
    ("--config=$tmp/number.py --workdir=$tmp/run", "get_config() of --config=$tmp/number.py gives a int", "ConfigDict"),
    ("--config=configs/points.py --workdir=$tmp/run", "--config is no experiment", "the file defines no get_config()"),
    ("--config=configs/gaussians.py:far --workdir=$tmp/run", "variant 'far' must be one of near-stale"),
    ("--config=configs/swissroll.py:quick-lr --workdir=$tmp/run", "variant 'quick-lr' must be one of lsif-chi2"),
    ("--config=configs/digits.py:foo --workdir=$tmp/run", "is an experiment without variants", "leave out the colon"),
    ("$TRAIN --mode=tran", "--mode=tran", "should be one of <train|sample|"),
    ("$TRAIN --nonsense=1", "Unknown command line flag 'nonsense'", "--help lists them"),
    ("$SAMPLE --num_sample=3", "Unknown command line flag 'num_sample'", "Did you mean: num_samples ?"),
    ("$TRAIN nonsense", "'nonsense' is not a flag", "flags are written --name=value"),
    ("$TRAIN --num_samples=3", "--num_samples is a flag of --mode=sample", "not of --mode=train"),
    ("$TRAIN --flops_rate=1e12", "--flops_rate is a flag of --mode=plan, not of --mode=train"),
    ("$TRAIN --distributed=maybe", "--distributed=maybe", "must be true or false"),
    ("--flagfile=$tmp/none", "$tmp/none"),
    ("--mode=prepare --workdir=$tmp/run $FAR", "--workdir is a flag of --mode=train|sample|", "not of --mode=prepare"),
    ("--mode=prepare", "--config is missing: prepare what?", "For example --config=digits"),
    ("--mode=plan", "--config is missing: plan what?", "For example --config=digits"),
    ("--mode=plan $FAR --flops_rate=0", "--flops_rate=0", "not number >= 1.0"),
    ("--mode=plan $FAR --flops_rate=fast", "--flops_rate=fast", "must be a number"),
    ("--mode=plan $FAR --flops_rate=nan", "--flops_rate=nan", "must be a finite number"),
    ("--mode=plan $FAR --config.flow.noise=-1.0", "config.flow.noise = -1.0", "must be a finite number at least 0"),
    ("--mode=plan --config=configs/classifier.py:digits", "this is a classifier's config", "--mode=train_classifier"),
    # --- several processes ---
    ("$HOSTS", "--coordinator, --num_processes and --process_id go together"),
    *(
        (f"$TRAIN --coordinator={bad} --num_processes=1 --process_id=0", f"--coordinator={bad} must be HOST:PORT")
        for bad in ("localhost", "localhost:abc", "localhost:0", "localhost:65536", ":1234")
    ),
    ("$TRAIN --process_id=0", "--coordinator, --num_processes and --process_id go together"),
    ("$HOSTS --num_processes=2 --process_id=2", "--process_id=2", "must be less than --num_processes=2"),
    ("$HOSTS --num_processes=2 --process_id=-1", "--process_id=-1", "is not an integer in the range [0, 2147483647]"),
    ("$HOSTS --num_processes=0 --process_id=0", "--num_processes=0", "is not an integer in the range [1, 2147483647]"),
    ("$HOSTS --num_processes=2 --process_id=1 --distributed", "go together, without --distributed"),
    # --- training: the workdir ---
    ("$FAR --workdir=$tmp/broken.py", "--workdir=$tmp/broken.py cannot be made", "is no folder that can be written to"),
    ("$FAR --workdir=$tmp/orphan", "$tmp/orphan has checkpoints/ but no config.json", "restore it or use a new workdir"),
    ("$FAR --workdir=$tmp/odd", "odd/checkpoints is not a folder", "move it away or use a new workdir"),
    ("$FAR --workdir=$points", "--workdir=$points belongs to another experiment", "config.data.batch_size is 16 there and 256 here", "Use a new workdir, or that config"),
    ("$FAR --workdir=$tmp/no_json", "$tmp/no_json/config.json is damaged", "restore it or use a new workdir"),
    ("$FAR --workdir=$tmp/deep_json", "$tmp/deep_json/config.json is damaged", "nested", "restore it"),
    ("$FAR --workdir=$tmp/list_json", "$tmp/list_json/config.json is damaged (not a JSON object)", "restore it"),
    # --- training: fields ---
    ("$TRAIN --config.train.num_step=3", "no field 'num_step'", "did you mean 'num_steps'?"),
    ("$TRAIN --config.trian.num_steps=3", "no field 'trian'", "did you mean 'train'?"),
    ("$TRAIN --config.qqqq=3", "no field 'qqqq'", "known here: "),
    ("$TRAIN --config.flow=3", "config.flow", "3", "must be a group of fields"),
    ("$TRAIN --config.train.num_steps=many", "--config.train.num_steps=many", "must be an integer"),
    ("$TRAIN --config.train.num_steps=1e3", "--config.train.num_steps=1e3", "must be an integer"),
    ("$TRAIN --config.flow.step_size=big", "--config.flow.step_size=big", "must be a number"),
    ("$TRAIN --config.flow.guided=3", "--config.flow.guided=3", "must be true or false"),
    ("$DIGITS --config.data.flip=maybe", "--config.data.flip=maybe", "must be true or false"),
    ('$TRAIN "--config.data.mean=(1.0"', "config.data.mean = ", "must be a pair of finite numbers"),
    ("$TRAIN --config.data.mean=west", "config.data.mean = ", "must be a pair of finite numbers"),
    ("$TRAIN --config.seed=-1", "config.seed = -1", "must be an integer of at least 0"),
    ("$TRAIN --config.seed=4294967296", "config.seed = 4294967296", "must be an integer of at most 4294967295"),
    ("$TRAIN --config.train.keep=9999999999", "config.train.keep = 9999999999", "an integer of at most 2147483647"),
    ("$TRAIN --config.flow.step_size=1e300", "config.flow.step_size = 1e+300", "must be a finite number"),
    ("$TRAIN --config.loss=mse", "config.loss = 'mse'", "must be one of lsif, lr, kliep"),
    ("$TRAIN --config.divergence=tv", "config.divergence = 'tv'", "must be one of chi2, kl, js, logd, jeffrey"),
    ("$DIGITS --config.divergence=kl", "divergence 'kl' cannot be driven by a network that outputs the ratio r", "use "),
    ("$TRAIN --config.ema_decay=1.1", "config.ema_decay = 1.1", "must be a finite number at least 0 and at most 1"),
    ("$TRAIN --config.precision=fp8", "config.precision = 'fp8'", "must be one of float32, bf16"),
    ("$TRAIN --config.data.name=moons", "config.data.name = 'moons'", "must be one of digits"),
    ("$TRAIN --config.data.name=digits", "config.data.mean is not a field for data.name = 'digits'", "known here: "),
    ("$TRAIN --config.data.batch_size=-1", "config.data.batch_size = -1", "must be an integer of at least 1"),
    ("--config=$tmp/no_data.py --workdir=$tmp/run", "config.data = 3", "must be a group of fields"),
    ("$CIFAR --config.data.path=~nobody_here/cifar10", "~nobody_here/cifar10", "no home folder of that user", "write the path out"),
    ("$TRAIN --config.data.batch_size=0", "config.data.batch_size = 0", "must be an integer of at least 1"),
    ("$TRAIN --config.train.microbatch=7", "no field 'microbatch'", "this file leaves it out, add it there"),
    ('$TRAIN "--config.data.mean=(1.0,)"', "config.data.mean = (1.0,)", "must be a pair of finite numbers"),
    ("$TRAIN --config.data.variance=0.0", "config.data.variance = 0.0", "must be a finite number above 0"),
    ("$DIGITS --config.data.batch_size=2000", "batch_size = 2000", "the 1500 examples of data set 'digits'", "smaller"),
    ("$DIGITS --config.data.image_size=28", "config.data.image_size = 28", "must be one of 8"),
    ("$DIGITS --config.data.channels=3", "config.data.channels = 3", "must be one of 1"),
    ("$DIGITS --config.data.holdout=1001", "config.data.holdout = 1001", "must be an integer of at most 1000"),
    ("$DIGITS --config.data.dequantize_sigma=-1.0", "config.data.dequantize_sigma = -1.0", "must be a finite number"),
    ("$TRAIN --config.prior.name=ddp", "config.prior.scale is not a field for prior.name = 'ddp'", "known here: "),
    ("$TRAIN --config.prior.scale=-1.0", "config.prior.scale = -1.0", "must be a finite number above 0"),
    ("$DIGITS --config.prior.rank=-1", "config.prior.rank = -1", "must be an integer of at least 0"),
    ("$DIGITS --config.prior.rank=65", "config.prior.rank = 65", "the 64 pixels of an image", "use a smaller rank"),
    ("$DIGITS --config.prior.jitter=0.0", "config.prior.jitter = 0.0", "must be a finite number above 0"),
    ("$DIGITS --config.prior.name=dataset", "config.prior.", "is not a field for prior.name = 'dataset'"),
    ("$TRAIN --config.model.name=unet", "config.model.name = 'unet'", "must be one of mlp, resnet"),
    ("$TRAIN --config.model.name=resnet", "config.model.width is not a field for model.name = 'resnet'", "known here: "),
    ('$TRAIN "--config.model.width=(64,-1)"', "config.model.width = (64, -1)", "must be a tuple of layer widths"),
    ('$TRAIN "--config.model.width=()"', "config.model.width = ()", "must be a tuple of layer widths"),
    ('$TRAIN "--config.model.width=(1000000,)"', "config.model.width = (1000000,)", "at most 65536"),
    ("$DIGITS --config.model.stem=0", "config.model.stem = 0", "must be an integer of at least 1"),
    ('$DIGITS "--config.model.stages=((4,1),)"', "((4, 1),)", "must be a tuple of stages (width, blocks, stride)"),
    ('$DIGITS "--config.model.stages=((4,1,4),(4,1,4))"', "shrink an image 16 times", "8 pixels a side", "fewer stages"),
    ('$DIGITS "--config.model.stages=((4,100000,1),)"', "config.model.stages", "100000", "at most 1000 blocks"),
    ("$DIGITS --config.model.attention=4", "config.model.attention = 4 is the stage that attention follows", "0 for none"),
    ('$DIGITS "--config.model.stages=((4, 1, 1),)" --config.model.attention=1', "attention = 1 works on an eighth of", "at least 8"),
    ("$DIGITS --config.model.ratio_init=0.0", "config.model.ratio_init = 0.0", "none or a finite number above 0"),
    ("$TRAIN --config.flow.num_steps=-1", "config.flow.num_steps = -1", "must be an integer of at least 0"),
    ("$TRAIN --config.flow.kappa=-1", "config.flow.kappa = -1", "must be an integer of at least 0"),
    ("$TRAIN --config.flow.step_size=0.0", "config.flow.step_size = 0.0", "must be a finite number above 0"),
    ("$TRAIN --config.flow.step_size=nan", "config.flow.step_size = nan", "must be a finite number above 0"),
    ("$TRAIN --config.flow.noise=-0.1", "config.flow.noise = -0.1", "must be a finite number at least 0"),
    ("$TRAIN --config.optimizer.learning_rate=-1.0", "config.optimizer.learning_rate = -1.0", "a finite number above 0"),
    ('$TRAIN "--config.optimizer.decay_steps=(0,)"', "config.optimizer.decay_steps = (0,)", "increasing step numbers"),
    ('$TRAIN "--config.optimizer.decay_steps=(9,9)"', "config.optimizer.decay_steps = (9, 9)", "increasing step numbers"),
    ("$TRAIN --config.optimizer.decay_factor=2.0", "config.optimizer.decay_factor = 2.0", "must be a finite number"),
    ("$TRAIN --config.optimizer.b1=1.0", "config.optimizer.b1 = 1.0", "must be a finite number"),
    ("$TRAIN --config.optimizer.b2=-0.1", "config.optimizer.b2 = -0.1", "must be a finite number"),
    ("$TRAIN --config.train.num_steps=0", "config.train.num_steps = 0", "must be an integer of at least 1"),
    ("$TRAIN --config.train.log_every=0", "config.train.log_every = 0", "must be an integer of at least 1"),
    ("$TRAIN --config.train.sample_every=0", "config.train.sample_every = 0", "must be an integer of at least 1"),
    ("$TRAIN --config.train.checkpoint_every=0", "config.train.checkpoint_every = 0", "an integer of at least 1"),
    ("$TRAIN --config.train.keep=0", "config.train.keep = 0", "must be an integer of at least 1"),
    ("$DIGITS --config.diagnostics.best=fid", "config.diagnostics.best = 'fid'", "must be one of"),
    ("$DIGITS --config.diagnostics.num_samples=5", "config.diagnostics.num_samples = 5", "an integer of at least 10"),
    ("$DIGITS --config.diagnostics.best=sliced_wasserstein", "config.diagnostics.best = 'sliced_wasserstein' is not measured of images", "use one of precision, recall"),
    # --- images in files ---
    ("$CIFAR", "$tmp/nothing cannot be read (No such file or directory)", "config.data.path must be"),
    ("--mode=prepare --config=configs/cifar10.py --config.data.path=$tmp/nothing", "$tmp/nothing", "must be cifar-10"),
    ("$CIFAR --config.data.split=all", "config.data.split = 'all'", "must be one of train, test"),
    ("$CIFAR --config.data.on_error=ignore", "config.data.on_error = 'ignore'", "must be one of stop, skip"),
    ("$CIFAR --config.data.transform=blur:3", "config.data.transform = 'blur:3' has a step 'blur:3'", "steps are resize:64"),
    ("$CIFAR --config.data.transform=resize:30", "ends with 'resize:30'", "image_size is 32", "change image_size"),
    ("$CIFAR --config.data.image_size=100000", "config.data.image_size = 100000", "an integer of at most 4096"),
    ("$CIFAR --config.data.part=3/3", "config.data.part = '3/3'", "must be k/n with k < n"),
    ("$CIFAR --config.data.path=", "config.data.path = ''", "must be a path"),
    ("$CIFAR --config.data.channels=2", "config.data.channels = 2", "must be one of 1, 3"),
    ("$FOLDER --config.data.path=$tmp/empty", "$tmp/empty has no image in it", "looked for .png"),
    ("$FOLDER --config.data.path=$tmp/broken.py", "$tmp/broken.py is a file", "must be a folder of images"),
    ("$FOLDER --config.data.path=$tmp/pictures", "batch_size = 64 is more than the 3 examples", "use a smaller batch"),
    ("$FOLDER --config.data.path=$tmp/linked", "$tmp/linked/out.png is a link to", "outside", "copy the file"),
    ("$FOLDER --config.data.path=$tmp/piped", "$tmp/piped/pipe.png is no regular file", "remove it"),
    # --- sampling ---
    ("--mode=sample --workdir=$points", "--out is missing", "FILE.npz for arrays"),
    ("--mode=sample --workdir=$points --out=$tmp/s.jpg", "--out=$tmp/s.jpg", "must end in .png (a picture), .npz (arrays) or / (a folder of PNGs)"),
    ("--mode=sample --workdir=$points --out=$tmp/no/s.npz", "--out=$tmp/no/s.npz cannot be written", "check $tmp/no"),
    ("--mode=sample --workdir=$points --out=$tmp/dir.npz", "--out=$tmp/dir.npz is a folder"),
    ("--mode=sample --workdir=$points --out=$tmp/pictures/", "is there already", "name a new folder, or an empty one"),
    ("--mode=sample --workdir=$points --out=$tmp/new/", "--out=$tmp/new/ is for images", "use FILE.npz"),
    ("--mode=sample --workdir=$digits --out=$tmp/new/ --every=2", "--every shows the flow", "name a file"),
    ("--mode=sample --workdir=$tmp/none --out=$tmp/s.npz", "$tmp/none holds no training run", "train one there first"),
    ("--mode=sample --workdir=$tmp/broken.py --out=$tmp/s.npz", "broken.py holds no training run", "train one there"),
    ("--mode=sample --workdir=$tmp/half_exported --out=$tmp/s.npz", "model.safetensors is missing", "copy the folder"),
    ("--mode=sample --workdir=hf:/digits --out=$tmp/s.npz", "hf:/digits holds no training run"),
    ("--mode=sample --workdir=hf://digits --out=$tmp/s.npz", "hf://digits must be hf://USER/NAME"),
    ("$SAMPLE $FAR", "--config is a flag of --mode=train|train_classifier|prepare|plan, not of --mode=sample; a run is"),
    ("$SAMPLE --num_samples=0", "--num_samples=0", "is not an integer in the range [1, 2147483647]"),
    ("$SAMPLE --num_samples=x", "--num_samples=x", "must be an integer"),
    ("$SAMPLE --num_samples=1.5", "--num_samples=1.5", "must be an integer"),
    ("$SAMPLE --num_samples=99999999999", "--num_samples=99999999999", "is not an integer in the range [1, 2147483647]"),
    ("$SAMPLE --seed=-1", "--seed=-1", "-1 is not an integer in the range [0, 4294967295]"),
    ("$SAMPLE --seed=4294967296", "--seed=4294967296", "is not an integer in the range [0, 4294967295]"),
    ("$SAMPLE --config.seed=3", "'config.seed'", "fields are changed together with --config"),
    ("$SAMPLE --kappa=-1", "--kappa=-1", "-1 is not an integer in the range [0, 2147483647]"),
    ("$SAMPLE --kappa=2147483647", "--kappa=2147483647", "more than 2147483647: use a smaller one"),
    ("$SAMPLE --batch_size=0", "--batch_size=0", "is not an integer in the range [1, 2147483647]"),
    ("$SAMPLE --every=0", "--every=0", "is not an integer in the range [1, 2147483647]"),
    ("$SAMPLE --step=²", "--step=²", "must be the number of a checkpoint's step, or best"),
    ("$SAMPLE --step=last", "--step=last", "must be the number of a checkpoint's step, or best"),
    ("$SAMPLE --step=3", "$points has no checkpoint of step 3", "there are 2, 4"),
    ("$SAMPLE --step=best", "$points keeps no best checkpoint", "train with diagnostics.best, or name a step"),
    ("$SAMPLE --ema=perhaps", "--ema=perhaps", "must be true or false"),
    ("$SAMPLE --compile_cache=$tmp/broken.py", "--compile_cache=$tmp/broken.py is a file", "name a folder, or off"),
    ("$SAMPLE --compile_cache=$tmp/broken.py/cache", "--compile_cache=$tmp/broken.py/cache is a file, or in one"),
    # --- samples of a class ---
    ("$OF_DIGITS --label=1", "--label, --classifier, --scale and --candidates go together"),
    ("$OF_DIGITS --scale=0.1", "--label, --classifier, --scale and --candidates go together"),
    ("$OF_DIGITS --candidates=2", "--label, --classifier, --scale and --candidates go together"),
    ("$OF_DIGITS --label=² --classifier=$tmp/bright.py:f", "--label=²", "must be a class, such as 3"),
    ("$OF_DIGITS --label=x --classifier=$tmp/bright.py:f", "--label=x", "such as 3, several separated by commas"),
    ("$OF_DIGITS --label= --classifier=$tmp/bright.py:f", "--label=", "such as 3, several separated by commas"),
    ("$OF_DIGITS --label=99999999999999999999 --classifier=$tmp/bright.py:f", "--label=99999999999999999999", "must be"),
    ("$OF_DIGITS --label=2 --classifier=$tmp/bright.py:f", "label = 2 is none of the 2 classes", "0 to 1"),
    ("$OF_DIGITS --label=1 --classifier=$tmp/bright.py:g", "bright.py has no function 'g'", "is the name right?"),
    ("$OF_DIGITS --label=1 --classifier=none.py:f", "classifier 'none.py:f': none.py is not a Python file", "is the path"),
    ("$OF_DIGITS --label=1 --classifier=$tmp/broken.py:f", "broken.py cannot be run (SyntaxError", "fix it"),
    ("$OF_DIGITS --label=1 --classifier=$points", "$points holds no trained classifier", "--mode=train_classifier"),
    ("$OF_DIGITS --label=1 --classifier=$tmp/none", "classifier $tmp/none does not exist", "give the workdir"),
    ("$OF_DIGITS --label=1 --classifier=$tmp/none.pt", "classifier $tmp/none.pt is not a file", "is the path right?"),
    ("$SAMPLE --label=1 --classifier=$tmp/bright.py:f", "bright.py:f cannot take images [2]", "use one for such images"),
    ("$LABEL --scale=-1", "--scale=-1", "not a non-negative number"),
    ("$LABEL --scale=1e6", "scale = 1000000.0", "at most 1000", "the paper's is 0.1"),
    ("$LABEL --scale=nan", "--scale=nan", "must be a finite number"),
    ("$LABEL --candidates=0", "--candidates=0", "is not an integer in the range [1, 2147483647]"),
    ("$LABEL --candidates=100000", "candidates = 100000", "an integer of at least 1 and at most 65536"),
    # --- translation ---
    ("--mode=translate --workdir=$fashion", "--input is missing", "the folder of images to read"),
    ("--mode=translate --workdir=$fashion --input=$tmp/grey", "--out is missing", "the folder of images to write"),
    ("--mode=translate --input=$tmp/grey --out=$tmp/x", "--workdir is missing", "the directory of the run"),
    ("$TRANSLATE --input=$tmp/none", "$tmp/none cannot be read (No such file or directory)", "--input must be"),
    ("$TRANSLATE --input=$tmp/empty", "$tmp/empty has no image in it", "looked for .png"),
    ("$TRANSLATE --input=$tmp/twice", "2 images in --input=$tmp/twice would become a.png", "rename them"),
    ("$TRANSLATE --input=$tmp/damaged", "--input: $tmp/damaged/a.png is damaged", "restore the file"),
    ("$TRANSLATE --input=$tmp/pictures", "--input: $tmp/pictures/a.png is colour", "make them like those"),
    ("$TRANSLATE --input=$tmp/colour_webp", "--input: $tmp/colour_webp/a.webp is colour", "make them like those"),
    ("$TRANSLATE --input=$tmp/grey --truth=$tmp/none", "--truth=$tmp/none does not exist", "check the path"),
    ("$TRANSLATE --input=$tmp/grey --truth=$tmp/other", "--truth=$tmp/other has no image of the same name", "give"),
    ("$TRANSLATE --input=$tmp/grey --truth=$tmp/two_truths", "--truth=$tmp/two_truths has a.jpg and a.png", "keep one of them"),
    ("--mode=translate --workdir=$fashion --input=$tmp/grey --out=$tmp/pictures", "is there already", "name a new folder"),
    ("--mode=translate --workdir=$digits --input=$tmp/grey --out=$tmp/x", "a Gaussian prior", "prior.name = 'dataset'"),
    ("$TRANSLATE --input=$tmp/grey --num_samples=3", "--num_samples is a flag of", "not of --mode=translate"),
    # --- classifiers ---
    ("--mode=train_classifier --workdir=$tmp/run", "--config is missing: train_classifier what?"),
    ("--mode=train_classifier $DIGITS", "config has no group 'attack'", "use --config=configs/classifier.py"),
    ("--config=configs/classifier.py --workdir=$tmp/run", "this is a classifier's config", "--mode=train_classifier"),
    ("$CLASSIFIER --config.attack.eps=-1.0", "config.attack.eps = -1.0", "must be a finite number at least 0"),
    ("$CLASSIFIER --config.attack.num_steps=0", "config.attack.num_steps = 0", "must be an integer of at least 1"),
    ("$CLASSIFIER --config.atack.eps=1.0", "no field 'atack'", "did you mean 'attack'?"),
    ("$CLASSIFIER --config.model.classes=1", "config.model.classes = 1", "must be an integer of at least 2"),
    ("$CLASSIFIER --config.model.classes=5", "config.model.classes = 5", "labels up to 9", "raise it"),
    ("$CLASSIFIER --config.data.batch_size=5000", "config.data.batch_size = 5000", "examples", "use a smaller one"),
    ("$CLASSIFIER --config.data.holdout=0", "no digits are held out", "set config.data.holdout"),
    ("--mode=train_classifier --config=configs/classifier.py:digits --workdir=$points", "another experiment", "new workdir"),
    ("--mode=train_classifier --config=configs/classifier.py:digits --workdir=$tmp/broken.py", "is no folder", "choose"),
    # --- evaluation ---
    ("$EVALUATE", "--num_samples is missing", "FID, by convention, is of 50,000"),
    ("$EVALUATE --num_samples=0", "--num_samples=0", "is not an integer in the range [1, 2147483647]"),
    ("$EVALUATE --num_samples=5 --metrics=", "--metrics is empty", "name some of fid"),
    ("$EVALUATE --num_samples=5 --metrics=frechett", "--metrics has 'frechett'", "did you mean 'frechet'?"),
    ("$EVALUATE --num_samples=5 --metrics=frechet@pixel", "features 'pixel' are not known", "did you mean 'pixels'?"),
    ("$EVALUATE --num_samples=5 --metrics=frechet@", "--metrics has 'frechet@'", "METRIC@FEATURES names a space"),
    ("$EVALUATE --num_samples=5 --metrics=frechet@none.py:f", "none.py is not a Python file", "is the path right?"),
    ("$EVALUATE --num_samples=5 --weights=$tmp/none", "--weights=$tmp/none does not exist", "check the path"),
    ("$EVALUATE --num_samples=5 --weights=$tmp/broken.py", "features 'pixels' have no weights", "leave $tmp/broken.py out"),
    ("$EVALUATE --num_samples=5 --replicates=1", "--replicates=1", "is not an integer in the range [2, 2147483647]"),
    ("$EVALUATE --num_samples=5 --num_reference=1", "--num_reference=1", "is not an integer in the range [2, 2147483647]"),
    ("$EVALUATE --num_samples=5 --num_reference=5000", "--num_reference=5000", "at least 2 and at most 1500"),
    ("$EVALUATE --num_samples=1 --metrics=frechet", "num_samples = 1", "at least 2"),
    ("$EVALUATE --num_samples=5 --step=last", "--step=last", "must be the number of a checkpoint's step, or best"),
    ("$EVALUATE --samples=$tmp/none", "--samples=$tmp/none does not exist", "check the path"),
    ("$EVALUATE --samples=$tmp/good.npz --num_samples=5", "--num_samples=5 and --samples=", "leave one of the two out"),
    ("$EVALUATE --samples=$tmp/good.npz --kappa=5", "--kappa=5 and --samples=", "leave one of the two out"),
    ("$EVALUATE --samples=$tmp/good.npz --batch_size=5", "--batch_size=5 and --samples=", "leave one of the two out"),
    ("$EVALUATE --samples=$tmp/nan.npz", "$tmp/nan.npz have values beyond [-1, 1], or NaN", "give images as"),
    ("$EVALUATE --samples=$tmp/floats.npz", "$tmp/floats.npz have values beyond [-1, 1], or NaN", "give images as"),
    ("$EVALUATE --samples=$tmp/integers.npz", "$tmp/integers.npz are int64", "give uint8 images, or floats in [-1, 1]"),
    ("$EVALUATE --samples=$tmp/shape.npz", "$tmp/shape.npz have shape (3, 4, 4, 1)", "not [n, 8, 8, 1]"),
    ("$EVALUATE --samples=$tmp/unnamed.npz", "--samples=$tmp/unnamed.npz has no array 'samples'", "--out=FILE.npz"),
    ("$EVALUATE --samples=$tmp/broken.py", "--samples=$tmp/broken.py", "must be an .npz file or a folder of PNG files"),
    ("$EVALUATE --samples=$tmp/damaged.npz", "$tmp/damaged.npz is damaged", "restore it"),
    ("$EVALUATE --samples=$tmp/pickled.npz", "$tmp/pickled.npz is damaged", "Object arrays cannot be loaded"),
    ("$EVALUATE --samples=$tmp/bomb.npz", "$tmp/bomb.npz is damaged", "would unpack to"),
    ("$EVALUATE --samples=$tmp/empty", "--samples: $tmp/empty has no image in it", "looked for .png"),
    ("$EVALUATE --samples=$tmp/jpegs", "--samples=$tmp/jpegs has JPEG files (a.jpg)", "use PNG or npz"),
    ("$EVALUATE --samples=$tmp/colour_webp", "--samples=$tmp/colour_webp has WebP files (a.webp)", "use PNG or npz"),
    ("$EVALUATE --samples=$tmp/sizes", "--samples=$tmp/sizes has images of different sizes", "all must have the model's size"),
    ("$EVALUATE --samples=$tmp/damaged", "$tmp/damaged/a.png is damaged", "restore the file"),
    ("$EVALUATE --num_samples=5 --reference=$tmp/none.npz", "--reference=$tmp/none.npz does not exist", "check the path"),
    ("$EVALUATE --num_samples=5 --metrics=frechet --reference=$tmp/broken.py", "broken.py: statistics are .npz files"),
    ("$EVALUATE --num_samples=5 --metrics=frechet --reference=$tmp/good.npz", "$tmp/good.npz has no 'mu'", "it is not a"),
    ("$EVALUATE --num_samples=5 --metrics=kid@pixels --reference=$tmp/mu.npz", "--reference=$tmp/mu.npz", "leave --ref"),
    ("$EVALUATE --num_samples=5 --metrics=frechet --reference=$tmp/mu.npz", "$tmp/mu.npz is of 3 dimensions", "the features 'pixels' have 64", "make it again"),
    ("$EVALUATE --num_samples=5 --reference=$tmp/mu.npz --num_reference=9", "--num_reference=9 and --reference=", "leave"),
    ("$EVALUATE --write_reference=$tmp/w.npz --num_samples=9", "--num_samples=9 and --write_reference=", "leave one"),
    ("$EVALUATE --write_reference=$tmp/good.npz", "$tmp/good.npz already exists", "name another file"),
    ("$EVALUATE --write_reference=$tmp/w.txt", "$tmp/w.txt: statistics are .npz files of pytorch-fid or .pt"),
    ("$EVALUATE --write_reference=$tmp/no/w.npz", "--write_reference=$tmp/no/w.npz cannot be written", "check $tmp/no"),
    ("--mode=evaluate --workdir=$points --num_samples=5 --metrics=frechet@lite0", "'lite0' are of images", "makes points"),
    # --- figures ---
    ("--mode=figures", "--workdir is missing", "the directory of the run"),
    ("--mode=figures --workdir=$tmp/none", "$tmp/none holds no training run", "train one there first"),
    ("$FIGURES --figures=fig99", "there is no figure 'fig99'", "figures are fig2, fig3"),
    ("$FIGURES --figures=", "no figure is named", "figures are fig2, fig3"),
    ("$FIGURES --figures=fig9", "fig9 cannot be drawn of $points", "it is of images"),
    ("$FIGURES --figures=table1", "table1 cannot be drawn of $points", "no FID was"),
    ("$FIGURES --out=$tmp/broken.py", "--out=$tmp/broken.py cannot be made", "name another folder"),
    ("$FIGURES --every=2", "--every is a flag of --mode=sample, not of --mode=figures"),
    ("$FIGURES --features=pixel", "features 'pixel' are not known", "did you mean 'pixels'?"),
    ("$FIGURES --num_samples=many", "--num_samples=many", "must be an integer"),
    # --- export ---
    ("--mode=export --workdir=$digits", "--out is missing", "the folder to export to"),
    ("--mode=export --workdir=$digits --out=$tmp/pictures", "--out=$tmp/pictures is there already", "name a new folder"),
    ("--mode=export --workdir=$digits --out=$tmp/no/x", "--out=$tmp/no/x cannot be made", "check $tmp/no"),
    ("$EXPORT --rank=0", "--rank=0", "is not an integer in the range [1, 2147483647]"),
    ("$EXPORT --rank=65", "rank = 65", "64"),
    ("--mode=export --workdir=$points --out=$tmp/x --rank=2", "--rank=2 is for an exact data-dependent prior"),
    ("$EXPORT --step=7", "$digits has no checkpoint of step 7", "there are 2, 4"),
    # --- reports ---
    ("--mode=report", "--workdir is missing", "the directory of the run"),
    ("--mode=report --workdir=$tmp/none", "$tmp/none holds no training run", "train one there first"),
    ("--mode=report --workdir=$tmp", "$tmp holds no training run", "train one there first"),
    ("--mode=report --workdir=$points --out=$tmp/r.pdf", "--out=$tmp/r.pdf", "must end in .html (a report)"),
    ("--mode=report --workdir=$points --out=$tmp/no/r.html", "--out=$tmp/no/r.html cannot be written", "check $tmp/no"),
    ("--mode=report --workdir=$points --seed=1", "--seed is a flag of --mode=sample", "not of --mode=report"),
    ("--mode=report --workdir=$points $points", "is not a flag", "flags are written --name=value"),
    ("--mode=report --workdir=$tmp/bad_best", "$tmp/bad_best/best.json is damaged", "restore or remove it"),
    ("--mode=compare", "there is no workdir to compare", "give two or more"),
    ("--mode=compare $points", "there is only one workdir, $points, to compare", "give two or more"),
    ("--mode=compare $points $points/../points", "is given twice", "compare different runs"),
    ("--mode=compare $points $tmp/none", "$tmp/none holds no training run", "train one there first"),
    ("--mode=compare --workdir=$points", "--workdir is a flag of", "not of --mode=compare"),
    ("--mode=compare $points $digits --out=$tmp/c.png", "--out=$tmp/c.png", "must end in .html (a comparison)"),
    ("--mode=compare $points $digits --out=$tmp/no/c.html", "--out=$tmp/no/c.html cannot be written", "check $tmp/no"),
    # --- runs that are damaged, or none of ours ---
    ("--mode=sample --workdir=$tmp/no_json --out=$tmp/s.npz", "no_json/config.json is damaged", "restore it"),
    ("--mode=sample --workdir=$tmp/empty_json --out=$tmp/s.npz", "empty_json/config.json: config.", "is missing: add it"),
    ("--mode=sample --workdir=$tmp/changed --out=$tmp/s.npz", "config.flow.noise is 0.0", "restore it or use a new"),
    ("--mode=sample --workdir=$tmp/bad_manifest --out=$tmp/s.npz", "manifest.json is damaged", "restore it or use a new"),
    ("--mode=sample --workdir=$tmp/future --out=$tmp/s.npz", "is of format 99", "use fdrl_jax 9.9"),
    ("--mode=sample --workdir=$tmp/no_prior --out=$tmp/s.npz", "prior.npz is damaged (prior.npz is missing)", "restore"),
    ("--mode=sample --workdir=$tmp/cut_prior --out=$tmp/s.npz", "prior.npz is damaged", "restore prior.npz"),
    ("--mode=sample --workdir=$tmp/no_steps --out=$tmp/s.npz", "has no checkpoint yet", "train it for longer"),
    ("--mode=sample --workdir=$tmp/cut_steps --out=$tmp/s.npz", "all checkpoints in", "are damaged", "restore one"),
    ("--mode=sample --workdir=$tmp/cut_step --step=4 --out=$tmp/s.npz", "is not as it was written", "the one before"),
]

CALLS = [
    # --- load ---
    ("load(None)", "path = None", "must be the path of a run's directory"),
    ("load(3)", "path = 3", "must be the path of a run's directory"),
    ("load(b'run')", "path = b'run'", "must be the path of a run's directory"),
    ("load('a\\0b')", "path = 'a\\x00b'", "must be the path of a run's directory"),
    ("load('')", "holds no training run", "train one there first"),
    ("load('$tmp/none')", "$tmp/none holds no training run", "train one there first"),
    ("load('$points', step='last')", "step = 'last'", "must be the number of a checkpoint's step, 'best', or None"),
    ("load('$points', step=2.0)", "step = 2.0", "must be an integer of at least 0"),
    ("load('$points', step=True)", "step = True", "must be an integer of at least 0"),
    ("load('$points', step=-1)", "step = -1", "must be an integer of at least 0"),
    ("load('$points', step=3)", "no checkpoint of step 3", "there are 2, 4"),
    ("load('$points', ema='no')", "ema = 'no'", "must be True or False"),
    ("load('$points', prior='uniform')", "prior is for a .pt", "has its own: leave it out"),
    ("load('$points', loss='lr')", "loss is for a .pt", "has its own: leave it out"),
    ("load('$tmp/none.pt')", "$tmp/none.pt", "cannot be read", "is the path right?"),
    ("load('$tmp/none.safetensors', prior='uniform')", "$tmp/none.safetensors is not a file", "is the path right?"),
    ("load('$tmp/text.pt')", "$tmp/text.pt is damaged, or not a file of torch.save", "copy it again"),
    ("load('$tmp/text.pt', step=3)", "step = 3 is for a run's directory", "leave it out"),
    ("load('hf://digits')", "hf://digits", "must be hf://USER/NAME"),
    # --- ratio_fn ---
    ("digits.ratio_fn(np.zeros((0, 8, 8, 1)))", "x has no examples", "give at least one"),
    ("digits.ratio_fn(None)", "x is NoneType, not an array of numbers", "float [batch, 8, 8, 1]"),
    ("digits.ratio_fn('images')", "x is an array of <U6, not an array of numbers", "float [batch, 8, 8, 1]"),
    ("digits.ratio_fn([[1.0], [1.0, 2.0]])", "x is a list that is not an array", "float [batch, 8, 8, 1]"),
    ("digits.ratio_fn([[1.0, 2.0]])", "x is float64 [1, 2]", "not float [batch, 8, 8, 1]"),
    ("digits.ratio_fn(1.0)", "x is float64 []", "not float [batch, 8, 8, 1]"),
    ("digits.ratio_fn(np.zeros((2, 9, 9, 1)))", "x is float64 [2, 9, 9, 1]", "not float [batch, 8, 8, 1]"),
    ("digits.ratio_fn(np.zeros((8, 8, 1)))", "x is float64 [8, 8, 1]", "not float [batch, 8, 8, 1]"),
    ("digits.ratio_fn(np.zeros((2, 8, 8, 1), np.uint8))", "x is uint8 [2, 8, 8, 1]", "images of uint8 are x / 127.5 - 1"),
    ("digits.ratio_fn(np.full((2, 8, 8, 1), np.nan))", "x has 128 values that are not finite", "leave them out"),
    ("points.ratio_fn([[np.inf, 0.0]])", "x has 1 values that are not finite", "leave them out"),
    ("points.ratio_fn([[1, 2]])", "x is int64 [1, 2]", "not float [batch, 2]"),
    ("points.ratio_fn(key)", "not an array of numbers", "float [batch, 2]"),
    # --- sample ---
    ("sample(None, 0, 2)", "model is a NoneType", "give what fdrl_jax.load returns"),
    ("sample('runs/digits', 0, 2)", "model is a str", "give what fdrl_jax.load returns"),
    ("sample(points, None, 2)", "key", "must be one PRNG key, such as jax.random.key(0)"),
    ("sample(points, np.zeros(2), 2)", "key must be one PRNG key, such as jax.random.key(0)"),
    ("sample(points, -1, 2)", "key = -1", "must be an integer of at least 0"),
    ("sample(points, 0.5, 2)", "key", "must be one PRNG key, such as jax.random.key(0)"),
    ("sample(points, 2**32, 2)", "key = 4294967296", "at most 4294967295"),
    ("sample(points, keys, 2)", "key must be one PRNG key, such as jax.random.key(0)"),
    ("sample(points, 0, 0)", "num_samples = 0", "must be an integer of at least 1"),
    ("sample(points, 0, 2.0)", "num_samples = 2.0", "must be an integer of at least 1"),
    ("sample(points, 0, '2')", "num_samples = '2'", "must be an integer of at least 1"),
    ("sample(points, 0, True)", "num_samples = True", "must be an integer of at least 1"),
    ("sample(points, 0, 2, num_steps=-1)", "num_steps = -1", "must be an integer of at least 0"),
    ("sample(points, 0, 2, num_steps=2**40)", "num_steps = 1099511627776", "at most 2147483647"),
    ("sample(points, 0, 2, num_steps=1.5)", "num_steps = 1.5", "must be an integer of at least 0"),
    ("sample(points, 0, 2, batch_size=0)", "batch_size = 0", "must be an integer of at least 1"),
    ("sample(digits, 0, 2, label=1)", "label is given without classifier", "takes both"),
    ("sample(digits, 0, 2, classifier=bright)", "classifier is given without label", "takes both"),
    ("sample(digits, 0, 2, scale=0.3)", "scale = 0.3", "give label and classifier"),
    ("sample(digits, 0, 2, label=1, classifier=bright, scale=1e6)", "scale = 1000000.0", "at most 1000"),
    ("sample(digits, 0, 2, label=1, classifier=bright, scale='big')", "scale = 'big'", "must be a number"),
    ("sample(digits, 0, 2, label=1, classifier=bright, candidates=0)", "candidates = 0", "an integer of at least 1"),
    ("sample(digits, 0, 2, label=7, classifier=bright)", "label = 7 is none of the 2 classes of bright", "0 to 1"),
    ("sample(digits, 0, 2, label=[0, 1, 0], classifier=bright)", "label has 3 classes for 2 samples", "one class per sample"),
    ("sample(digits, 0, 2, label='cat', classifier=bright)", "label = 'cat'", "must be a class, 0 to 1"),
    ("sample(digits, 0, 2, label=1, classifier=3)", "classifier = 3 is neither a classifier, a path nor a function"),
    ("sample(digits, 0, 2, label=1, classifier=np.mean)", "classifier mean gives float32 []", "not float logits [5, classes]"),
    ("sample(points, 0, 2, label=1, classifier=bright)", "bright cannot take images [2]", "use one for such images"),
    ("trajectory(points, 0, 2, every=0)", "every = 0", "must be an integer of at least 1"),
    ("trajectory(None, 0, 2, every=1)", "model is a NoneType", "give what fdrl_jax.load returns"),
    # --- interpolate ---
    ("interpolate(None, 0, 2, 3)", "model is a NoneType", "give what fdrl_jax.load returns"),
    ("interpolate(fashion, 0, 2, 3)", "interpolation needs a prior with a density", "another prior"),
    ("interpolate(digits, 0, 0, 3)", "num_pairs = 0", "must be an integer of at least 1"),
    ("interpolate(digits, 0, 2, 1)", "num_between = 1", "must be an integer of at least 2"),
    ("interpolate(digits, 'a', 2, 3)", "key must be one PRNG key"),
    ("interpolate(digits, 0, 2, 3, num_steps='x')", "num_steps = 'x'", "must be an integer of at least 0"),
    # --- translate ---
    ("translate(None, images, 0)", "model is a NoneType", "give what fdrl_jax.load returns"),
    ("translate(digits, images, 0)", "a Gaussian prior", "train with prior.name = 'dataset'"),
    ("translate(fashion, None, 0)", "images is NoneType, not an array of numbers", "uint8 or float [n, 28, 28, 1]"),
    ("translate(fashion, [[0.5]], 0)", "images have shape [1, 1]", "not [n, 28, 28, 1]"),
    ("translate(fashion, 0.5, 0)", "images have shape []", "not [n, 28, 28, 1]"),
    ("translate(fashion, images[:0], 0)", "images have shape [0, 28, 28, 1]", "with n >= 1"),
    ("translate(fashion, images[0], 0)", "images have shape [28, 28, 1]", "not [n, 28, 28, 1]"),
    ("translate(fashion, images.astype(int), 0)", "images are int64, and not uint8 or float within [-1, 1]", "scale them"),
    ("translate(fashion, images.astype(int).tolist(), 0)", "images are int64", "scale them"),
    ("translate(fashion, images.astype(float) + 2, 0)", "images are float64, and not uint8 or float within", "scale them"),
    ("translate(fashion, images * np.nan, 0)", "images are float64, and not uint8 or float within [-1, 1]", "scale them"),
    ("translate(fashion, images, 'key')", "key must be one PRNG key"),
    ("translate(fashion, images, 0, num_steps=-1)", "num_steps = -1", "must be an integer of at least 0"),
    # --- refine ---
    ("refine(None, ratio, 0)", "samples is NoneType, not an array of numbers", "float [n, *event]"),
    ("refine([[1, 2]], ratio, 0)", "samples are int64 [1, 2]", "not float [n, *event]"),
    ("refine([1.0, 2.0], ratio, 0)", "samples are float64 [2]", "not float [n, *event]"),
    ("refine([[np.nan, 2.0]], ratio, 0)", "samples has 1 values that are not finite", "leave them out"),
    ("refine([[1.0, 2.0]], None, 0)", "ratio_fn is a NoneType", "not a function from samples to r or log r"),
    ("refine([[1.0, 2.0]], lambda z: z, 0)", "ratio_fn gives (2, 2) for 2 samples", "not [2]"),
    ("refine([[1.0, 2.0]], np.mean, 0)", "ratio_fn cannot take samples [2, 2]", "write it in jax.numpy"),
    ("refine([[1.0, 2.0]], ratio, 'key')", "key must be one PRNG key"),
    ("refine([[1.0, 2.0]], ratio, 0, divergence='tv')", "divergence = 'tv'", "must be one of chi2, kl"),
    ("refine([[1.0, 2.0]], ratio, 0, divergence=[])", "divergence = []", "must be one of chi2, kl"),
    ("refine([[1.0, 2.0]], ratio, 0, parameterisation='r')", "parameterisation = 'r'", "must be one of ratio, log_ratio"),
    ("refine([[1.0, 2.0]], ratio, 0, num_steps=-1)", "num_steps = -1", "must be an integer of at least 0"),
    ("refine([[1.0, 2.0]], ratio, 0, num_steps=2.5)", "num_steps = 2.5", "must be an integer of at least 0"),
    ("refine([[1.0, 2.0]], ratio, 0, step_size='x')", "step_size = 'x'", "must be a number above 0"),
    ("refine([[1.0, 2.0]], ratio, 0, step_size=0)", "step_size = 0", "must be a number above 0"),
    ("refine([[1.0, 2.0]], ratio, 0, step_size=np.nan)", "step_size = nan", "must be a number above 0"),
    ("refine([[1.0, 2.0]], ratio, 0, temperature=-1)", "temperature = -1", "must be a number of at least 0"),
    ("refine([[1.0, 2.0]], ratio, 0, batch_size=0)", "batch_size = 0", "must be an integer of at least 1"),
    # --- the rest ---
    ("load_classifier(None)", "classifier = None", "must be the path of"),
    ("load_classifier('$points')", "$points holds no trained classifier", "--mode=train_classifier"),
    ("export(None, '$tmp/x')", "workdir = None", "must be the path of"),
    ("export('$digits', None)", "out = None", "must be the path of"),
    ("export('$digits', '$tmp/x', num_samples=0)", "num_samples = 0", "must be an integer of at least 1"),
    ("export('$digits', '$tmp/x', num_samples='x')", "num_samples = 'x'", "must be an integer of at least 1"),
    ("export('$digits', '$tmp/x', rank='x')", "rank = 'x'", "must be an integer of at least 1"),
    ("train(None, '$tmp/x')", "config is a NoneType", "a ConfigDict or nested dicts"),
    ("train({}, '$tmp/x')", "config.data is missing", "add it to the config file"),
    ("train({'seed': {1: 2}}, '$tmp/x')", "config.", "is missing"),
    ("train(configs.digits.get_config(), None)", "workdir = None", "must be the path of"),
    ("save_safetensors('$tmp/no/x.safetensors', network)", "$tmp/no/x.safetensors cannot be written", "another place"),
    ("network(None)", "x has shape []", "not [batch, 8, 8, 3]"),
    ("network([[1.0]])", "x has shape [1, 1]", "not [batch, 8, 8, 3]"),
]

# fmt: on

# In a process of its own, without the run-time checks of types that the other tests have.
PROGRAM = """
import json, pathlib, sys, time
import jax, numpy as np
import jax.numpy as jnp
import configs.digits, fdrl_jax
from fdrl_jax import *
from fdrl_jax.models.convert import read_checkpoint, save_safetensors

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
)
places, rows = json.load(sys.stdin)
points, digits, fashion = (fdrl_jax.load(places[name]) for name in ("points", "digits", "fashion"))
network, _ = read_checkpoint(places["torch"])
images = np.zeros((2, 28, 28, 1), np.uint8)
key, keys = jax.random.key(0), jax.random.split(jax.random.key(0))

def bright(x):
    return jnp.stack([x.mean(axis=(1, 2, 3)), -x.mean(axis=(1, 2, 3))], axis=1)

def ratio(x):
    return x.sum(axis=1)

found = []
for row in rows:
    jax.clear_caches()
    compiled.clear()
    start, error = time.monotonic(), None
    try:
        eval(row)
    except Exception as raised:
        error = raised
    kind = "InputError" if isinstance(error, fdrl_jax.InputError) else type(error).__name__
    found.append([kind, str(error), time.monotonic() - start, len(compiled)])
json.dump(found, sys.stderr)
"""


def picture(kind="PNG", size=64, channels=3):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, channels)).astype(np.uint8)
    return real_files.encoded(pixels, kind)


def change(workdir, name, edit):
    """Let `edit` change the JSON in a file of a run."""
    content = json.loads((workdir / name).read_text())
    edit(content)
    (workdir / name).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Three runs, and beside them `tmp`, full of bad files."""
    root = tmp_path_factory.mktemp("bad")
    points, digits, fashion, tmp = (root / name for name in ("points", "digits", "fashion", "tmp"))
    shrink.trained(shrink.tiny_points(), points)
    shrink.trained(shrink.tiny_digits(), digits)
    config = shrink.shrink(fashion_translation.get_config(), num_steps=1, folder=root / "data")
    del config["diagnostics"]
    shrink.trained(config, fashion)
    tmp.mkdir()
    real_files.write_files(
        tmp,
        {
            "broken.py": b"def get_config(:\n",
            "raises.py": b"import nowhere\n",
            "number.py": b"def get_config():\n    return 3\n",
            "no_data.py": b"from configs import gaussians\n\ndef get_config():\n    config = gaussians.get_config('far-fdrl')\n"
            b"    with config.ignore_type():\n        config.data = 3\n    return config\n",
            "bright.py": b"def f(x):\n    import jax.numpy as jnp\n    m = x.mean(axis=(1, 2, 3))\n"
            b"    return jnp.stack([m, -m], axis=1)\n",
            "text.pt": b"no pickle",
            "odd/checkpoints": b"a file",
            "no_json/config.json": b"{",
            "deep_json/config.json": b"[" * 100_000,
            "list_json/config.json": b"[1]",
            "empty_json/config.json": b"{}",
            "half_exported/config.json": json.dumps(
                {"format": 1, "fdrl_jax": "0", "step": 3, "ema": True, "config": {}}
            ).encode(),
            **{f"pictures/{name}.png": picture() for name in "abc"},
            "damaged/a.png": picture()[:60],
            "colour_webp/a.webp": picture("WEBP", 28),
            "grey/a.png": picture(size=28, channels=1),
            "other/b.png": picture(size=28, channels=1),
            "two_truths/a.png": picture(size=28, channels=1),
            "two_truths/a.jpg": picture("JPEG", 28, 1),
            "twice/a.png": picture(size=28, channels=1),
            "twice/a.jpg": picture("JPEG", 28, 1),
            "jpegs/a.jpg": picture("JPEG", 8, 1),
            "sizes/a.png": picture(size=8, channels=1),
            "sizes/b.png": picture(size=9, channels=1),
            "linked/in.png": picture(),
        },
    )
    for name in ("orphan/checkpoints", "dir.npz", "empty", "piped"):
        (tmp / name).mkdir(parents=True)
    (tmp / "linked" / "out.png").symlink_to(tmp / "pictures" / "a.png")
    os.mkfifo(tmp / "piped" / "pipe.png")
    good = np.zeros((3, 8, 8, 1), np.float32)
    np.savez(tmp / "good.npz", samples=good)
    np.savez(tmp / "nan.npz", samples=good * np.nan)
    np.savez(tmp / "floats.npz", samples=good + 255)
    np.savez(tmp / "integers.npz", samples=good.astype(int))
    np.savez(tmp / "shape.npz", samples=good[:, :4, :4])
    np.savez(tmp / "unnamed.npz", x=good)
    np.savez(tmp / "pickled.npz", samples=np.array([{}], object))
    np.savez(tmp / "mu.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez_compressed(tmp / "bomb.npz", samples=np.broadcast_to(np.zeros((), np.uint8), (2**28 + 1,)))
    (tmp / "damaged.npz").write_bytes((tmp / "good.npz").read_bytes()[:-30])
    copies = {name: shutil.copytree(digits, tmp / name) for name in ("bad_best", "changed", "bad_manifest", "future")}
    copies |= {name: shutil.copytree(digits, tmp / name) for name in ("no_prior", "cut_prior", "no_steps")}
    copies |= {name: shutil.copytree(digits, tmp / name) for name in ("cut_steps", "cut_step")}
    (copies["bad_best"] / "best.json").write_text("{")
    change(copies["changed"], "config.json", lambda c: c["flow"].update(noise=7.0))
    body = {"format": 2, "version": "0", "body": {"config": [], "files": 3, "older": None}}
    write_sealed(copies["bad_manifest"] / "manifest.json", body)
    for name in ("checkpoints", "best"):  # Their manifests have a copy.
        shutil.rmtree(copies["bad_manifest"] / name)
    write_sealed(copies["future"] / "manifest.json", {"format": 99, "version": "9.9", "body": {}})
    (copies["no_prior"] / "prior.npz").unlink()
    (copies["cut_prior"] / "prior.npz").write_bytes((digits / "prior.npz").read_bytes()[:-30])
    shutil.rmtree(copies["no_steps"] / "checkpoints")
    for name in ("cut_steps", "cut_step"):
        for step in ("2", "4"):
            if name == "cut_steps" or step == "4":
                largest = max(
                    (p for p in (copies[name] / "checkpoints" / step).rglob("*") if p.is_file()),
                    key=lambda p: p.stat().st_size,
                )
                largest.write_bytes(largest.read_bytes()[:-1])
    torch = GOLDENS / "torch_files" / "full.pt"
    return {
        name: str(path)
        for name, path in zip(
            ("points", "digits", "fashion", "tmp", "torch"), (points, digits, fashion, tmp, torch), strict=True
        )
    }


def write_sealed(path, content):
    """A manifest whose checksum is right, whatever it says."""
    import hashlib

    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(content | {"sha256": digest}))


def fill(text, places):
    return string.Template(string.Template(text).safe_substitute(WORDS)).safe_substitute(places)


def snapshot(places):
    root = pathlib.Path(places["tmp"]).parent
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(root.rglob("*"))}


@pytest.fixture(scope="module")
def compiled(places):
    """What was compiled, as it is; from here on everything would have to be."""
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event) if event.endswith("backend_compile_duration") else None
    )
    jax.clear_caches()
    return events


@pytest.mark.parametrize("row", COMMANDS, ids=[command or "nothing" for command, *_ in COMMANDS])
def test_a_bad_command_is_one_line_and_exit_code_2(row, places, compiled, tmp_path, monkeypatch, capsys):
    command, *pieces = (fill(text, places) for text in row)
    monkeypatch.chdir(ROOT)  # Where configs/ is.
    before = snapshot(places)
    compiled.clear()
    start = time.monotonic()
    code = cli.run(["main.py", *shlex.split(command)])
    seconds = time.monotonic() - start
    out, err = capsys.readouterr()
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("error: ")
    for piece in pieces:
        assert piece in err
    assert len(err) < 1000
    # Checkpoints that are skipped are named on the way.
    assert all("is skipped: " in line for line in out.splitlines())
    assert seconds < 10
    assert compiled == []
    assert snapshot(places) == before


@pytest.fixture(scope="module")
def raised(places):
    """Of each row of `CALLS`: the kind of what was raised, its message, the seconds, how much was compiled."""
    rows = [fill(call, places) for call, *_ in CALLS]
    before = snapshot(places)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps([places, rows]), capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert snapshot(places) == before
    return dict(zip((call for call, *_ in CALLS), json.loads(done.stderr.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("row", CALLS, ids=[call for call, *_ in CALLS])
def test_a_bad_call_is_a_value_error_of_one_line(row, places, raised):
    call, *pieces = row
    kind, message, seconds, compiled = raised[call]
    assert kind == "InputError", message
    assert "\n" not in message
    for piece in pieces:
        assert fill(piece, places) in message
    assert len(message) < 1000
    assert seconds < 10
    assert compiled == 0


@pytest.mark.parametrize(
    ("command", "piece"),
    [
        ("$TRAIN --config.loss=mse", "config.loss = 'mse' must be one of lsif"),
        ("$SAMPLE --step=3", "has no checkpoint of step 3"),
        ("$LABEL --scale=1e6", "scale = 1000000.0"),
        ("$EVALUATE --samples=$tmp/bomb.npz", "would unpack to"),
        ("--mode=compare $points", "there is only one workdir"),
    ],
)
def test_a_real_process_says_no_more(command, piece, places):
    # JAX logs each compilation on standard error, and what it only traces.
    environment = {**os.environ, "JAX_LOG_COMPILES": "1"}
    argv = [sys.executable, "main.py", *shlex.split(fill(command, places))]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=environment)
    lines = [line for line in done.stderr.splitlines() if "jax._src.dispatch:Finished tracing" not in line]
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done.stderr
    assert lines[0].startswith("error: ")
    assert piece in lines[0]


def test_lists_are_arrays(places):
    import fdrl_jax

    model = fdrl_jax.load(places["points"])
    ratio_fn, refine = (getattr(f, "__wrapped__", f) for f in (type(model).ratio_fn, fdrl_jax.refine))
    np.testing.assert_array_equal(ratio_fn(model, [[1.0, 2.0]]), model.ratio_fn(np.array([[1.0, 2.0]], np.float32)))
    made = refine([[1.0, 2.0]], lambda x: x.sum(axis=1), 0, num_steps=2)
    assert made.shape == (1, 2)
    fashion = fdrl_jax.load(places["fashion"])
    translate = getattr(fdrl_jax.translate, "__wrapped__", fdrl_jax.translate)
    images = np.full((1, 28, 28, 1), 0.5, np.float32)
    np.testing.assert_array_equal(
        translate(fashion, images.tolist(), 0, num_steps=1, progress=False),
        fdrl_jax.translate(fashion, images, 0, num_steps=1, progress=False),
    )


def test_a_grey_webp_is_grey_to_a_model_of_grey_images(places, tmp_path):
    # WebP has no grey mode: its three channels are equal.
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (28, 28, 1)).astype(np.uint8), 3, axis=2)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.webp", lossless=True)
    flags = [f"--workdir={places['fashion']}", f"--input={tmp_path}/in", f"--out={tmp_path}/out"]
    assert cli.run(["main.py", "--mode=translate", *flags]) == 0
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.mode == "L"
