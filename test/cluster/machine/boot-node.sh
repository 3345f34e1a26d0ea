#!/bin/sh
# Boots a node: what its first process does, in namespaces of its own (mount, pid, uts; the network is there already). When the first
# process is killed, everything of the node is gone but its disk.
# In the environment: NODE (name), FOLDER (the node's folder), RECORDS, LOGS, CLUSTER_MOUNTS (the mount namespace that is not ours).
set -eu
[ "$(readlink /proc/self/ns/mnt)" != "$CLUSTER_MOUNTS" ] || { echo "not in a mount namespace of its own" >&2; exit 1; }
here=$(dirname "$0")
hostname "$NODE"
mount --make-rshared /                     # what kubelet mounts must reach containers, and the other way round
mount -t tmpfs tmpfs /run
mkdir -p /run/containerd /run/lock /run/netns
mkdir -p /run/stratum
cat /proc/sys/kernel/random/uuid > /run/stratum/boot-id     # the kernel's own boot id stays when a node of ours reboots
# This node's own disk: /var/lib/kubelet, /var/lib/stratum, /var/lib/containerd and the logs of pods.
mkdir -p "$FOLDER/disk/lib" "$FOLDER/disk/log"
mount --bind "$FOLDER/disk/lib" /var/lib
mount --bind "$FOLDER/disk/log" /var/log

sh "$here/keep-running.sh" "$NODE-containerd" containerd --config "$FOLDER/containerd.toml" &
until ctr --address /run/containerd/containerd.sock version > /dev/null 2>&1; do sleep 0.1; done
mkdir -p /var/lib/loaded-images
for image in $IMAGES; do
  loaded=/var/lib/loaded-images/$(echo "$image" | tr / _)
  [ ! -e "$loaded" ] || continue
  ctr --address /run/containerd/containerd.sock --namespace k8s.io images import "$image"
  : > "$loaded"
done
: > "$RECORDS/$NODE.booted"
exec sh "$here/keep-running.sh" "$NODE-kubelet" "$KUBELET" --config "$FOLDER/kubelet.json" --kubeconfig "$KUBECONFIG" \
  --hostname-override "$NODE" --node-ip "$ADDRESS" --v=2
