#!/usr/bin/env bash
# Every check that needs no running program. All of them run, whatever fails; the end says which.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()

step() {
  local name=$1; shift
  printf '== %s\n' "$name"
  "$@" || failed+=("$name")
}

step "format" $bin/ruff format --check
step "lint" $bin/ruff check
step "types" $bin/mypy
step "imports" $bin/lint-imports --no-logo
step "sizes" $bin/python scripts/check_sizes.py
step "version" $bin/python scripts/check_version.py
step "docs" $bin/python scripts/docs.py --check

if [ ${#failed[@]} != 0 ]; then
  printf 'make check: failed: %s\n' "${failed[*]}"
  exit 1
fi
echo "make check: all is well"
