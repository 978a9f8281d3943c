#!/usr/bin/env bash
# Makes before_rooms.zip: run in a checkout of commit a009c22, with the Python of its environment as the argument.
set -euo pipefail
export JAX_NUM_CPU_DEVICES=1 XLA_FLAGS=--xla_cpu_max_isa=AVX2
CONFIG=(--config=configs/digits.py --config.data.batch_size=16 --config.model.stem=8 '--config.model.stages=((8,1,1),(16,1,2))' --config.model.attention=1 --config.model.spectral_norm=True --config.flow.num_steps=3 --config.train.checkpoint_every=6 --config.train.log_every=3 --config.diagnostics.every=6 --config.diagnostics.num_samples=16)
out=$(mktemp -d)
"$1" main.py "${CONFIG[@]}" --workdir="$out/run" --compile_cache=off --config.train.num_steps=12 --config.train.sample_every=12
"$1" main.py --mode=export --workdir="$out/run" --out="$out/model" --num_samples=4
sample=(--mode=sample --workdir="$out/run" --num_samples=6 --seed=7 --compile_cache=off)
"$1" main.py "${sample[@]}" --out="$out/samples.npz"
"$1" main.py "${sample[@]}" --step=best --noema --out="$out/samples_best.npz"
rm -rf "$out"/run/{tensorboard,samples,lock,checkpoints/6}
(cd "$out" && zip -qr - run model samples.npz samples_best.npz) > before_rooms.zip
