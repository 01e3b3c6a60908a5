# Sourced by the scripts beside it: plain words on stderr, and Debian packages.

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Prefix for commands that need root; fails where there is no way to become root without a question.
root_prefix() {
  if [ "$(id -u)" = 0 ]; then return 0; fi
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then echo "sudo -n"; return 0; fi
  return 1
}

# debian_install REASON PACKAGE...: installs with apt, starting no service, or ends with one sentence.
debian_install() {
  local reason=$1; shift
  command -v apt-get >/dev/null || die "$reason: install $* (this machine has no apt-get)."
  local sudo; sudo=$(root_prefix) || die "$reason: run 'sudo apt-get install $*', then try again."
  say "Installing $* with apt ..."
  local log; log=$(mktemp)
  # RUNLEVEL=1 keeps Debian from starting the servers on their default ports.
  local install="$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $*"
  if ! $install >"$log" 2>&1; then
    { $sudo apt-get update -qq && $install; } >"$log" 2>&1 || { tail -n 3 "$log" >&2; rm -f "$log"; die "$reason, and apt could not install $*."; }
  fi
  rm -f "$log"
}
