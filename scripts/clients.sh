#!/usr/bin/env bash
# Makes .run/clients by requirements/clients.lock: clients that cannot live beside ours. Installs nothing the second time.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

venv=.run/clients
hash=$(sha256sum requirements/clients.lock | cut -d ' ' -f 1)
[ "$(cat "$venv/lock.hash" 2>/dev/null)" = "$hash" ] && exit 0
say "Installing $(grep -c '==' requirements/clients.lock) packages into $venv ..."
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/clients.lock ||
  die "the clients could not be installed: see above."
echo "$hash" >"$venv/lock.hash"
