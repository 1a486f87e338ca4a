#!/usr/bin/env bash
# Trains and evaluates on real collections, in every scenario that they have files for. Interrupted, it goes on.
#   benchmarks/real/run.sh ROOTPATH RUNS small
#   benchmarks/real/run.sh ROOTPATH RUNS e5 FOLDER-OF-MULTILINGUAL-E5-SMALL
set -euo pipefail
rootpath=$1 runs=$2 encoder=$3
here=$(dirname "$0")
pretrained=(${4:+--model.text.encoder "$4"})

run() { # name, options of the data
  local name=$1
  shift
  mlcmr train "$here/$encoder.yaml" --rootpath "$rootpath" --run "$runs/$name-$encoder" "${pretrained[@]}" "$@"
  mlcmr evaluate "$runs/$name-$encoder" --target "${targets[@]}" --text-to-text
}

flickr=(--collection flickr8kcn --feature mobilenetv2-pca256)
targets=(en zh)
run flickr8kcn-parallel "${flickr[@]}"
run flickr8kcn-unparallel "${flickr[@]}" --scenario unparallel
run flickr8kcn-pseudo-parallel "${flickr[@]}" --scenario pseudo-parallel --target zh
targets=(en zh de) # most photographs have German captions
run flickr8kcn-parallel-3-languages "${flickr[@]}" --languages '[en, zh, de]' --missing-captions keep
targets=(en it)
fewer=() # its videos have 20 captions each: twice the pairs in an epoch
[[ $encoder == small ]] && fewer=(--epochs 2)
run msrvtt1k-parallel --collection msrvtt1k --feature vgg16-ae128 --languages '[en, it]' "${fewer[@]}"
