#!/usr/bin/env bash
# The real servers that tests start on ports of their own. Installs Debian's packages where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

missing=()
command -v nats-server >/dev/null || missing+=(nats-server)
command -v etcd >/dev/null || missing+=(etcd-server)
[ ${#missing[@]} = 0 ] || debian_install "The tests need ${missing[*]}" "${missing[@]}"
