#!/usr/bin/env bash
# The part of the Kubernetes tests that continuous integration runs: on the cluster that KUBECONFIG names, on the binaries
# in KUBEBUILDER_ASSETS, or on those in ../shared/kube (packed; with a node for real pods). Without any of them it says so,
# and what follows goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
beside=../shared/kube
if [ -z "${KUBECONFIG:-}${KUBEBUILDER_ASSETS:-}" ] && [ -d "$beside/bin" ]; then
  assets=$PWD/.run/kube
  mkdir -p "$assets"
  for packed in "$beside"/bin/*.xz; do
    binary=$assets/$(basename "$packed" .xz)
    [ -x "$binary" ] && continue
    xz -dc "$packed" > "$binary.part" && chmod +x "$binary.part" && mv "$binary.part" "$binary"
  done
  export KUBEBUILDER_ASSETS=$assets
fi
if [ -z "${KUBECONFIG:-}${KUBEBUILDER_ASSETS:-}" ]; then
  printf '%s\n' "" "########################################################################" \
    "NO KUBERNETES: the tests against an API server are NOT RUN." \
    "Set KUBECONFIG or KUBEBUILDER_ASSETS, or lay ../shared/kube beside this." \
    "########################################################################" >&2
  exit 0
fi
if [ -z "${PROCESS_KUBELET:-}" ] && [ -f "$beside/process_kubelet.py" ]; then
  PROCESS_KUBELET=$(realpath "$beside/process_kubelet.py")
  export PROCESS_KUBELET
fi
scripts/test_servers.sh
exec make test-kube-short
