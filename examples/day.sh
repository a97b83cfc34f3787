#!/usr/bin/env bash
# A day with a folder of photos, a folder for each class. New photos are those to be sorted:
#   examples/day.sh PHOTOS NEW_PHOTOS [OUT] [options of arcvit train, as --time_limit 5m]
set -euo pipefail
photos=$1 new=$2 out=${3:-runs/day}
shift $(($# < 3 ? $# : 3))

# Is anything wrong with the photos? It says what, and goes on where it can.
arcvit data check "$photos" || echo "the check found something: see above"

# Learn, and look at what went wrong.
arcvit train "$photos" --out "$out/first" "$@"
arcvit report "$out/first"  # draws first/index.html, as train has done; --split val shows others

# More photos came in (here they are the same): go on from what is known, and see what changed.
arcvit train "$photos" --out "$out/second" --init_from "$out/first" "$@"
arcvit compare "$out/first" "$out/second" --csv "$out/changed.csv"

# Sort the new photos; what is like none of the classes is called unknown.
arcvit predict "$out/second" "$new" --unknown --csv "$out/answers.csv"
arcvit embed "$out/second" "$new" --out "$out/features.npz"

# A plain model for whoever runs it without arcvit.
arcvit merge "$out/second" --out "$out/merged.safetensors"
