#!/usr/bin/env bash
# Writes requirements/tandem.lock and requirements/clients.lock: the newest versions that fit together, pinned, with
# hashes, for every platform. `lock.sh clients` writes the second alone.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tool=.run/lock-tool
[ -x "$tool/bin/uv" ] || { python3 -m venv "$tool" && "$tool/bin/pip" install -q --disable-pip-version-check uv; } || die "uv could not be installed."

# lock FILE ARGUMENTS...
lock() {
  local file=$1; shift
  "$tool/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@" --output-file "$file"
  say "Locked $(grep -c '==' "$file") packages in $file."
}

[ "${1:-}" = clients ] || lock requirements/tandem.lock \
  --override requirements/overrides.txt --extra cpu --extra operator --extra dev pyproject.toml requirements/torch-needs.in
lock requirements/clients.lock requirements/clients.in
say "Run 'make test' and 'make acceptance' before you commit."
