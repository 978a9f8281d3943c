#!/usr/bin/env bash
# Measurements that need a GPU or TPU.
#
#     bash benchmarks/speed/accelerator.sh speed
#
# takes eight minutes and runs `python -m benchmarks.speed.accelerator`: speed, memory and a profile.
#
#     bash benchmarks/speed/accelerator.sh
#
# takes about ten minutes: the rate that --mode=plan assumes, a flow step inside the scan, the exact prior at 128x128x3, and
# the first minutes of Fashion-MNIST and emoji at full size. These need the IDX files in data/fashion_mnist and the emoji in
# data/emoji (see configs/emoji64.py).
#
# Everything is written to OUT (default runs/accelerator): what is printed goes to log.txt, next to runs, metrics and
# pictures. MINUTES (default 3) is the time of each of the two trainings.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-runs/accelerator}
MINUTES=${MINUTES:-3}
PYTHON=${PYTHON:-python}
mkdir -p "$OUT"
exec > >(tee "$OUT/log.txt") 2>&1

if [[ ${1:-} == speed ]]; then
    $PYTHON -m benchmarks.speed.accelerator --out="$OUT" --minutes=8
    exit
fi

$PYTHON -c 'from benchmarks.common.environment import describe; print(describe())'
for config in cifar10 celeba64 lsun_church128 cat2dog64; do
    echo "== plan $config"
    $PYTHON main.py --mode=plan --config="configs/$config.py"
done
$PYTHON -m benchmarks.speed.flow --network=cifar10 --batch_size=64 --num_steps=20
$PYTHON -m benchmarks.speed.prior --size=128 --rank=1024 --out="$OUT/prior128.json"
for name in fashion_mnist emoji64; do
    echo "== $name, $MINUTES minutes"
    # 124 is timeout's own exit code: the run is stopped on purpose, and sampling uses its last checkpoint.
    timeout "$((MINUTES * 60))" $PYTHON main.py --config="configs/$name.py" --workdir="$OUT/$name" \
        --config.train.checkpoint_every=250 --config.train.sample_every=250 || test $? -eq 124
    $PYTHON main.py --mode=sample --workdir="$OUT/$name" --num_samples=100 --out="$OUT/$name.png"
done
