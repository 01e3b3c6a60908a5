#!/usr/bin/env bash
# Makes .venv by the lock file. Installs nothing when the lock has not changed since the last time.
#
# PYTHON               which Python to use (3.11 or newer; default: the first that fits)
# TANDEM_TORCH_INDEX   address of PyTorch's index of CPU wheels, for where the usual index has no CPU build of torch
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

venv=.venv
log=$venv/setup.log

# One set-up at a time: `make run` beside `make test` in a new checkout waits instead of taking the folder away.
exec 9>.setup.lock
flock -n 9 || { say "Another set-up of this checkout is running; waiting for it ..."; flock 9; }
needed_mb=4500

python_that_fits() {
  local name
  for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v "$name"; return; fi
  done
  die "Tandem needs Python 3.11 or newer, and ${PYTHON:-this machine} has none; install it or name one with PYTHON=/path/to/python3."
}

make_venv() {
  local python=$1
  if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    debian_install "Python's venv module is missing" "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  rm -rf "$venv"
  "$python" -m venv "$venv" || die "Python could not make a virtual environment in $PWD/$venv."
  # Twice as quick as the pip that Debian's Python brings; not needed, so no failure if it cannot be had.
  "$venv/bin/pip" install -q --disable-pip-version-check pip==26.3 >>"$log" 2>&1 || true
}

# The engine links against libnuma, which its wheel does not bring.
check_libnuma() {
  "$venv/bin/python" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null || debian_install "The engine needs libnuma" libnuma1
}

check_space() {
  local free_mb; free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
  [ "$free_mb" -ge "$needed_mb" ] || die "$PWD has $free_mb MB of disk space left and the installation needs $needed_mb MB."
}

why_pip_failed() {
  if grep -qiE 'No space left on device|Disk quota exceeded' "$log"; then echo "the disk is full"
  elif grep -qE 'DO NOT MATCH THE HASHES' "$log"; then echo "a downloaded file does not match the lock file's hash"
  elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeout|ProxyError|Max retries|Network is unreachable' "$log"; then echo "the package index cannot be reached (network or proxy)"
  else grep -E '^ERROR|Error: ' "$log" | tail -n 1 | cut -c -200
  fi
}

# pip LINE...: installs, shows how far it is, keeps the details in the log.
pip() {
  "$venv/bin/pip" --disable-pip-version-check --no-input install --no-compile --progress-bar off "$@" 2>&1 | tee -a "$log" |
    awk -v tty="$([ -t 2 ] && echo 1)" -v total="${total:-0}" '
      /^Collecting / { n++; if (tty) printf "\r  %d of %d  %-40.40s", n, total, $2; else if (n % 40 == 0) printf "  %d of %d\n", n, total; fflush() }
      /^Installing collected/ { if (tty) printf "\r  unpacking%-50s", ""; else print "  unpacking"; fflush() }
      END { if (tty && n) printf "\r%-60s\r", "" }' >&2
}

install_lock() {
  local total; total=$(grep -c '==' requirements/tandem.lock)
  say "Installing up to $total packages (about 500 MB to download) ..."
  pip --no-deps --require-hashes -r requirements/tandem.lock || die "installing failed: $(why_pip_failed). Details: $log"
}

install_torch() {
  local torch; torch=$(cat requirements/torch.txt)
  local index=(); [ -z "${TANDEM_TORCH_INDEX:-}" ] || index=(--index-url "$TANDEM_TORCH_INDEX")
  say "Installing $torch for the CPU ..."
  if pip --no-deps "${index[@]}" "$torch+cpu"; then return; fi
  grep -q "No matching distribution found for $torch+cpu" "$log" || die "installing torch failed: $(why_pip_failed). Details: $log"
  [ -z "${TANDEM_TORCH_INDEX:-}" ] || die "TANDEM_TORCH_INDEX offers no $torch+cpu."
  say "This index has no CPU build of torch. Installing the CUDA build: several GB more. To avoid that, stop here and set"
  say "TANDEM_TORCH_INDEX to the address of PyTorch's index of CPU wheels (pytorch.org, Get Started, Compute Platform: CPU)."
  pip "$torch" || die "installing torch failed: $(why_pip_failed). Details: $log"
}

# Takes away what an earlier lock named and this one does not, unless torch brought packages of its own.
remove_left_overs() {
  "$venv/bin/python" -c 'import importlib.metadata as m, sys; sys.exit("+cpu" not in m.version("torch"))' || return 0
  local names; names=$("$venv/bin/python" scripts/left_overs.py requirements/tandem.lock)
  [ -z "$names" ] || { say "Removing" $names; "$venv/bin/pip" uninstall -q -y $names >>"$log" 2>&1; }
}

# The engine reads some thousand modules; compiling them now, on every core, takes 20 s off each first start.
compile_modules() {
  say "Compiling Python modules ..."
  env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q -j 0 -x '/(tests?|testing)/|transformers/models/(?!auto|qwen)' "$venv"/lib/python3*/site-packages >>"$log" 2>&1 || true
}

install_tandem() {
  say "Installing Tandem itself ..."
  "$venv/bin/pip" --disable-pip-version-check install -q --no-deps --no-build-isolation --no-index -e . >>"$log" 2>&1 || die "installing Tandem itself failed: $(why_pip_failed). Details: $log"
}

hash_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }
lock_hash=$(hash_of requirements/tandem.lock requirements/torch.txt)
tandem_hash=$(hash_of pyproject.toml)
installed_hash=$(cat "$venv/lock.hash" 2>/dev/null || true)

if [ "$installed_hash" != "$lock_hash" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
  started=$SECONDS
  check_space
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || { python=$(python_that_fits); make_venv "$python"; }
  check_libnuma
  install_lock
  install_torch
  remove_left_overs
  echo "$lock_hash" >"$venv/lock.hash"
  compile_modules
  say "Installed in $((SECONDS - started)) s."
elif [ "${1:-}" != --quiet ]; then
  say "Nothing to install: .venv is as the lock file says."
fi
if [ "$(cat "$venv/tandem.hash" 2>/dev/null)" != "$tandem_hash" ]; then
  install_tandem
  echo "$tandem_hash" >"$venv/tandem.hash"
fi
