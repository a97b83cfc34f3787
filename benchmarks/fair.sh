#!/bin/sh
# examples/fair.yaml on another machine, such as one with a GPU:
#
#   benchmarks/fair.sh pack DATA FOLDER      here: gathers three data sets, about 35 MB
#   benchmarks/fair.sh run FOLDER [FLAGS]    there: makes the other tasks, runs all, reports
#
# DATA holds vtab-1k/cifar, fgvc/HandDrawnShapes and grocery, in the layouts that arcvit reads.
# cifar's test split is cut to its first 2,000 images. FLAGS are those of arcvit bench, as --jobs 8;
# the runs are in FOLDER/runs. All of it in miniature, in minutes on two cores:
#
#   benchmarks/fair.sh run FOLDER --jobs 2 --tasks HandDrawnShapes,counts --methods arc,lora:r=2 \
#     --search none --seeds 0 --engine.epochs 1
set -eu

pack() {
  mkdir -p "$2/vtab-1k/cifar" "$2/fgvc"
  cp -R "$1/fgvc/HandDrawnShapes" "$2/fgvc/"
  cp -R "$1/grocery" "$2/"
  chmod -R u+w "$2"
  for list in train800 val200 train800val200; do
    cp "$1/vtab-1k/cifar/$list.txt" "$2/vtab-1k/cifar/"
  done
  head -n 2000 "$1/vtab-1k/cifar/test.txt" > "$2/vtab-1k/cifar/test.txt"
  cat "$2"/vtab-1k/cifar/*.txt | cut -d ' ' -f 1 |
    tar -C "$1/vtab-1k/cifar" -cf - -T - | tar -C "$2/vtab-1k/cifar" -xf -
  du -sh --apparent-size "$2"
}

run() {
  folder=$1
  shift
  makers=
  for task in sprites counts directions textures; do
    [ -d "$folder/made/$task" ] || [ -d "$folder/made/${task}_ori" ] ||
      arcvit data make "$task" --out "$folder/made" --test_size 1000 &
    makers="$makers $!"
  done
  for maker in $makers; do wait "$maker"; done  # one that failed ends the script
  suite=$(dirname "$0")/../examples/fair.yaml
  arcvit bench "$suite" --data.root "$folder" --out "$folder/runs" "$@"
  case " $* " in *" --dry_run "*) return ;; esac
  arcvit report "$folder/runs" --against lora:r=2
}

case "${1-}-$#" in
  pack-3) pack "$2" "$3" ;;
  run-1 | -*) echo "usage: $0 pack DATA FOLDER | run FOLDER [FLAGS]" >&2; exit 2 ;;
  run-*) shift; run "$@" ;;
  *) echo "usage: $0 pack DATA FOLDER | run FOLDER [FLAGS]" >&2; exit 2 ;;
esac
