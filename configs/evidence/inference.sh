#!/bin/bash
# What windows with views, votes and thresholds add, over three seeds of five folds: `make evidence-inference` trains them
# and calls this script. Each prediction is out of fold; the figures are mean Dice at the images' own size.
# Usage: inference.sh CARPUS RUNS DATA CROPS FOLDS OUT, where RUNS has inference-seed1-fold0, …
set -euo pipefail
carpus=$1 runs=$2 data=$3 crops=$4 folds=$5 out=$6
mkdir -p "$out"
# Windows of half the model's side at the scale of the training: 384 px images, 192 px model.
declare -A options=([plain]="" [flip]="--tta flip" [views]="--tta flip,scale:1.25,rotate:5"
  [windows]="--window 128 --overlap 0.5 --scale 0.5" [windows-views]="--window 128 --overlap 0.5 --scale 0.5 --tta flip,scale:1.25,rotate:5")
score() {  # NAME CSV
  "$carpus" --json evaluate --predictions "$2" --data "$data" --out "$out/$1.csv" |
    "${PYTHON:-python3}" -c 'import json, sys; print(f"{sys.argv[1]:<28} {json.load(sys.stdin)["mean_dice"]:.5f}")' "$1"
}
for seed in 1 2 3; do
  for name in plain flip views windows windows-views; do
    csvs=() folders=()
    for fold in 0 1 2 3 4; do
      to=$out/$name-seed$seed-fold$fold
      [ -e "$to.csv" ] || "$carpus" --quiet predict --checkpoint "$runs/inference-seed$seed-fold$fold" --data "$crops" --subset train \
        --folds "$folds" --fold $fold ${options[$name]} --probabilities "$to" --out "$to.csv"
      csvs+=("$to.csv") folders+=("$to")
    done
    "$carpus" --quiet join "${csvs[@]}" --out "$out/$name-seed$seed-oof.csv"
    "$carpus" --quiet join "${folders[@]}" --out "$out/$name-seed$seed-oof"
    score "$name-seed$seed" "$out/$name-seed$seed-oof.csv"
  done
  # The gain on other folds and its interval are printed whatever they are; 3 is the exit code of "no evidence".
  "$carpus" thresholds --probabilities "$out/plain-seed$seed-oof" --data "$data" --folds "$folds" --out "$out/decision-seed$seed.toml" |
    grep "gain " | tail -2 || true
done
for method in soft logit hard staple simple; do
  "$carpus" --quiet ensemble --members "$out"/plain-seed{1,2,3}-oof --method $method --out "$out/$method-of-seeds-oof.csv"
  score "$method-of-seeds" "$out/$method-of-seeds-oof.csv"
done
