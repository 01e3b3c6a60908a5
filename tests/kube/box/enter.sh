#!/bin/sh
# Makes the box and runs a story in it:  unshare --net --mount --pid --fork --kill-child enter.sh FOLDER REPOSITORY COMMAND…
# FOLDER takes what is written in the box; the story finds the host's files below a copy-on-write root.
set -eu
folder=$1 repository=$2
shift 2
mount -t proc proc /proc
ip link set lo up
ip link add br0 address 02:00:00:00:00:01 type bridge # else it has that of one of its pods, and another when that goes
ip addr add 10.244.0.1/16 dev br0
ip link set br0 up
mkdir -p "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
for each in proc dev sys; do mount --rbind "/$each" "$folder/root/$each"; done
mkdir -p "$folder/root$folder/state"
mkdir -p "$folder/state"
mount --bind "$folder/state" "$folder/root$folder/state"
sh "$repository/deploy/layout.sh" "$folder/root/workspace"
ln -sf bash "$folder/root/bin/sh" # as in the image: what the guide starts by a shell must hear of its pod's end
mkdir -p "$folder/root/usr/local/lib/tandem"
# The image's two commands, run from this checkout.
for name in tandem dynamo; do
  function=$([ $name = tandem ] && echo main || echo dynamo_main)
  cat > "$folder/root/usr/local/lib/tandem/$name" <<EOF
#!/bin/sh
export PYTHONPATH="$repository/src"
exec "$repository/.venv/bin/python" -c "import sys; from tandem.cli.main import $function; sys.exit($function())" "\$@"
EOF
  chmod +x "$folder/root/usr/local/lib/tandem/$name"
done
exec chroot "$folder/root" /bin/sh -c 'cd "$0" && exec "$@"' "$repository" "$@"
