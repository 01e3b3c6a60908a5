#!/usr/bin/env bash
# Does the wheel in dist/ work where there is no checkout? Its dependencies come from the index, as a user's would.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

wheel=$(ls "$PWD"/dist/*.whl)
python=$PWD/.venv/bin/python
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
cd "$empty"
"$python" -m venv venv
venv/bin/pip --disable-pip-version-check install -q "$wheel"
for command in tandem dynamo; do
  venv/bin/$command --help >help.txt || die "$command --help failed in an empty environment."
  grep -qi usage help.txt || die "$command --help printed no usage."
done
say "The wheel works by itself: $(basename "$wheel"), $(du -k "$wheel" | cut -f 1) kB."
