#!/usr/bin/env bash
# Builds a Horovod wheel (Gloo, PyTorch) against the torch that PYTHON has, or finds the one built before.
# Prints the wheel's path. Usage: build_wheel.sh PYTHON CACHE_FOLDER
set -euo pipefail
python=$1
cache=$2
version=0.28.1
key=$("$python" -c 'import sys, torch; print(f"torch{torch.__version__}-cp{sys.version_info[0]}{sys.version_info[1]}")')
folder="$cache/horovod-$version-$key"
found() { compgen -G "$folder/*.whl" | tail -n 1 | grep .; }
found && exit 0
mkdir -p "$cache"
if command -v flock >/dev/null; then # whoever asks meanwhile waits for the first instead of building, too
  exec 9>"$folder.lock"
  flock 9
  found && exit 0
fi
command -v g++ >/dev/null || { echo "Horovod needs a C++ compiler (g++); without it training runs in one process" >&2; exit 3; }
work=$(mktemp -d)
staged="$folder.$$"
trap 'rm -rf "$work" "$staged"' EXIT
export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
MAKEFLAGS="-j$(getconf _NPROCESSORS_ONLN)"
export MAKEFLAGS
# the build tools come from the environment itself (cmake of PyPI, not an old one of the system)
PATH="$(dirname "$python"):$PATH"
export PATH
"$python" -m pip download --quiet --no-deps --no-build-isolation --no-binary horovod "horovod==$version" -d "$work" >&2 \
  || { echo "Horovod's source cannot be fetched with pip; without it training runs in one process" >&2; exit 3; }
tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
# torch's headers need C++20; Horovod 0.28.1 asks for C++14
sed -i 's/CMAKE_CXX_STANDARD 14/CMAKE_CXX_STANDARD 20/' \
  "$work/horovod-$version/CMakeLists.txt" "$work/horovod-$version/horovod/torch/CMakeLists.txt"
echo "building Horovod $version for $key (about 6 minutes on 2 cores, once)" >&2
CMAKE_POLICY_VERSION_MINIMUM=3.5 "$python" -m pip wheel --no-deps --no-build-isolation -w "$work/wheel" \
  "$work/horovod-$version" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 4; }
mkdir -p "$staged"
cp "$work"/wheel/*.whl "$staged/"
mv -T "$staged" "$folder" 2>/dev/null || mv "$staged"/*.whl "$folder/" # whole or not at all
found
