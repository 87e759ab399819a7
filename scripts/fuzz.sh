#!/bin/sh
# Fuzzes the decoders and the tar parser of the unpacker, with the sanitizers.
#   fuzz.sh [SECONDS] [CORPUS]    60 seconds and a corpus that is thrown away, as the tests do
#   fuzz.sh 36000 ~/corpus        for hours; what is found interesting stays in CORPUS
# A crash ends it with the input's file name; run that again with dist/native/<arch>-asan/fuzz-unpack FILE.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
corpus=${2:-}
make -s -C native fuzz
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
[ -n "$corpus" ] || { corpus=$seeds/corpus; mkdir "$corpus"; }

# The first byte says what follows: NUL a layer, else deflate with two bytes of how it is cut into pieces.
tree=$seeds/tree
mkdir -p "$tree/d/e"
echo content >"$tree/d/file"
ln "$tree/d/file" "$tree/d/hard"
ln -s file "$tree/d/symlink"
: >"$tree/d/.wh.gone"
: >"$tree/d/e/.wh..wh..opq"
truncate -s 100k "$tree/holes"
echo end >>"$tree/holes"
long=$(printf 'n%.0s' $(seq 200))
echo long >"$tree/$long"
for format in v7 ustar gnu pax; do
  tar -C "$tree" --sparse --ignore-failed-read --format=$format -cf "$seeds/$format.tar" . 2>/dev/null || continue
  { printf '\000'; cat "$seeds/$format.tar"; } >"$corpus/$format"
  { printf '\000'; gzip -c "$seeds/$format.tar"; } >"$corpus/$format.gz"
  { printf '\001ab'; gzip -nc "$seeds/$format.tar" | tail -c +11; } >"$corpus/$format.deflate"
  if command -v zstd >/dev/null 2>&1; then { printf '\000'; zstd -qc "$seeds/$format.tar"; } >"$corpus/$format.zst"; fi
done
fuzzer=$(ls dist/native/*-asan/fuzz-unpack)
"$fuzzer" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
  -artifact_prefix="${TMPDIR:-/tmp}/fuzz-unpack-" "$corpus" >"$seeds/log" 2>&1 || {
  tail -40 "$seeds/log" >&2
  exit 1
}
echo "fuzz: $(sed -n 's/^stat::number_of_executed_units: *//p' "$seeds/log") inputs in $seconds s, none crashed"
