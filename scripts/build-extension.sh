#!/usr/bin/env bash
# Build the extension in place, for those who work on it: src/midfill/kernels/_native*.so.
# pip does the same when it installs; this one compiles only what changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
"$python" -c 'import nanobind' 2>/dev/null || "$python" -m pip install --quiet nanobind
cmake -S . -B build/dev -DCMAKE_BUILD_TYPE=Release \
  -DPython_EXECUTABLE="$(realpath -s "$python")" \
  -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" >/dev/null
cmake --build build/dev --parallel "$(nproc)"
for built in build/dev/_native*.so; do  # a new file under the name: others may have mapped the old one
  cp "$built" "src/midfill/kernels/.$(basename "$built")"
  mv "src/midfill/kernels/.$(basename "$built")" "src/midfill/kernels/$(basename "$built")"
done
