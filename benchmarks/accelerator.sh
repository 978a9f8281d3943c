#!/usr/bin/env bash
# What only a GPU or TPU can show.
#
#     bash benchmarks/accelerator.sh speed
#
# eight minutes: how fast it is and where the rest goes, `python -m benchmarks.accelerator`.
#
#     bash benchmarks/accelerator.sh
#
# about ten minutes: the rate that --mode=plan reckons with, a flow step inside the scan, the exact prior at 128x128x3, and
# the first minutes of Fashion-MNIST and emoji at full size. OUT (runs/accelerator) is where it writes.
#
# The second needs the IDX files in data/fashion_mnist and the emoji in data/emoji (configs/emoji64.py says how). Everything it prints
# is in $OUT/log.txt; runs, metrics and pictures are beside it. MINUTES is how long each of the two trainings may take.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-runs/accelerator}
MINUTES=${MINUTES:-3}
PYTHON=${PYTHON:-python}
mkdir -p "$OUT"
exec > >(tee "$OUT/log.txt") 2>&1

if [[ ${1:-} == speed ]]; then
    $PYTHON -m benchmarks.accelerator --out="$OUT" --minutes=8
    exit
fi

$PYTHON -c 'from benchmarks.environment import describe; print(describe())'
for config in cifar10 celeba64 lsun_church128 cat2dog64; do
    echo "== plan $config"
    $PYTHON main.py --mode=plan --config="configs/$config.py"
done
$PYTHON -m benchmarks.flow --network=cifar10 --batch_size=64 --num_steps=20
$PYTHON -m benchmarks.prior --size=128 --rank=1024 --out="$OUT/prior128.json"
for name in fashion_mnist emoji64; do
    echo "== $name, $MINUTES minutes"
    # Stopped by time: what it has by then is in its last checkpoint.
    timeout "$((MINUTES * 60))" $PYTHON main.py --config="configs/$name.py" --workdir="$OUT/$name" \
        --config.train.checkpoint_every=250 --config.train.sample_every=250 || test $? -eq 124
    $PYTHON main.py --mode=sample --workdir="$OUT/$name" --num_samples=100 --out="$OUT/$name.png"
done
