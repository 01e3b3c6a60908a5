#!/bin/sh
# Makes the folder that the guide's commands start in: TARGET/examples/llm/{components,graphs,configs}.
# The image runs it with TARGET=/workspace, and the tests with a folder of their own, so both are the same tree.
#   layout.sh TARGET [SOURCE]     SOURCE: the repository, or where its examples/ lie (default: beside this script's folder)
set -eu
target=${1:?usage: layout.sh TARGET [SOURCE]}
source=${2:-$(cd "$(dirname "$0")/.." && pwd)}
mkdir -p "$target/examples"
cp -R "$source/examples/llm" "$target/examples/"
find "$target/examples" -name __pycache__ -type d -prune -exec rm -rf {} +
# The guide mounts single files over these; the folders must be there and readable by any user.
mkdir -p "$target/examples/llm/components" "$target/examples/llm/graphs" "$target/examples/llm/configs"
chmod -R a+rX "$target"
