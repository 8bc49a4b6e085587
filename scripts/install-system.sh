#!/usr/bin/env bash
# System packages of the tests and of the compiled kernels: a browser, a compiler, cmake, make.
# Safe to run again; without apt or root it says what is missing and goes on.
set -euo pipefail

wanted=()
need() { command -v "$1" >/dev/null || wanted+=("$2"); }
need chromium chromium
need g++ g++
need cmake cmake
need make make
python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
  wanted+=(python3-dev)
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)

if [ ${#wanted[@]} -eq 0 ]; then
  echo "system packages: all there"
elif ! command -v apt-get >/dev/null; then
  echo "system packages: no apt here; please install: ${wanted[*]}" >&2
elif [ "$(id -u)" -ne 0 ]; then
  echo "system packages: not root; please run: sudo apt-get install ${wanted[*]}" >&2
else
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${wanted[@]}"
fi
