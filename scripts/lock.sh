#!/usr/bin/env bash
# Writes requirements/tandem.lock: the newest versions that fit together, pinned, with hashes, for every platform.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tool=.run/lock-tool
[ -x "$tool/bin/uv" ] || { python3 -m venv "$tool" && "$tool/bin/pip" install -q --disable-pip-version-check uv; } || die "uv could not be installed."
"$tool/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
  --override requirements/overrides.txt --extra cpu --extra operator --extra dev pyproject.toml requirements/torch-needs.in \
  --output-file requirements/tandem.lock
say "Locked $(grep -c '==' requirements/tandem.lock) packages. Run 'make test' before you commit it."
