#!/usr/bin/env bash
# The published command: trains, tests the checkpoint that is best on validation, and says how to test again.
#   ./do_all.sh <collection> <feature> <parallel|unparallel> <human_label|translate> <target zh|en> [rootpath]
#   ./do_all.sh vatex i3d_kinetics parallel human_label zh ~/VisualSearch
# MLCMR_OPTIONS holds more options of `mlcmr train`, for example "--batch-size 32 --workers 2".
set -euo pipefail

usage() {
  sed -n '3,4s/^#   //p' "$0" >&2
  echo "do_all.sh: $1" >&2
  exit 2
}

[ $# -eq 5 ] || [ $# -eq 6 ] || usage "expected five or six words, got $#"
collection=$1 feature=$2 captions=$3 origin=$4 target=$5 rootpath=${6:-$HOME/VisualSearch}
case $target in zh | en) ;; *) usage "target is '$target', expected zh or en" ;; esac

case $captions/$origin in
  parallel/human_label) run=parallel options=(--scenario parallel) ;;
  parallel/translate) run=pseudo-parallel-$target options=(--scenario pseudo-parallel --target "$target") ;;
  unparallel/human_label) run=unparallel options=(--scenario unparallel) ;;
  *) usage "'$captions $origin' is no scenario: parallel human_label, parallel translate, unparallel human_label" ;;
esac
names=("$collection") # the published README, code and archives call the same collection by several names
case $collection in
  vatex | VATEX) names+=(vatex VATEX) ;;
  msrvtt10kyu | msrvtt10k | msrvtt)
    names+=(msrvtt10kyu msrvtt10k msrvtt)
    options+=(--validation-split test) # as published: the best checkpoint is chosen on the test split
    ;;
esac
folder=$rootpath/$collection
for name in "${names[@]}"; do
  if [ -d "$rootpath/$name/TextData" ]; then
    folder=$rootpath/$name
    break
  fi
done
[ -d "$folder" ] || usage "$folder: no such collection"
run=$folder/runs/$feature-$run

here=$(cd "$(dirname "$0")" && pwd)
mlcmr=mlcmr
[ -x "$here/.venv/bin/mlcmr" ] && mlcmr=$here/.venv/bin/mlcmr
read -ra more <<<"${MLCMR_OPTIONS:-}"

"$mlcmr" train --rootpath "$rootpath" --collection "$collection" --feature "$feature" \
  "${options[@]}" --run "$run" "${more[@]}"
"$mlcmr" evaluate "$run" --target "$target"
echo "test again: $mlcmr evaluate $run --target $target"
