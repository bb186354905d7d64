#!/usr/bin/env bash
# Boots a tree in namespaces of this machine's kernel, with systemd as process 1. Needs root.
#
#   namespaces.sh NAME TREE WORK     NAME names the cgroups; WORK/up keeps what is written, from boot to boot
#
# The process becomes unshare(1) and ends with the booted system; its child is that system's process 1.
set -euo pipefail
name=$1 tree=$2 work=$3
cgroups=/sys/fs/cgroup
v2=$([ "$(stat -fc %T $cgroups)" = cgroup2fs ] && echo 1 || echo 0)

join() { # a cgroup of our own in each hierarchy: the cgroup namespace makes it the root of what systemd sees
  local above directory
  for above in $([ "$v2" = 1 ] && echo $cgroups || echo $cgroups/{cpu,cpuacct,cpuset,memory,devices,freezer,blkio,pids,systemd,unified}); do
    [ -d "$above" ] || continue
    directory=$above/$name
    mkdir -p "$directory"
    if [ -f "$directory/cpuset.cpus" ] && [ "$v2" = 0 ]; then
      cat "$above/cpuset.cpus" >"$directory/cpuset.cpus"
      cat "$above/cpuset.mems" >"$directory/cpuset.mems"
    fi
    echo $$ >"$directory/cgroup.procs"
  done
}

inside='
set -euo pipefail
tree=$1 work=$2 v2=$3 top=$2/top
mkdir -p "$work/up" "$work/overlay" "$top"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$work/up,workdir=$work/overlay" "$top"
mount -t proc proc "$top/proc"
mount -t sysfs -o ro sysfs "$top/sys"
mount -t tmpfs -o mode=755 tmpfs "$top/dev"
for node in null zero full random urandom tty; do : >"$top/dev/$node"; mount --bind "/dev/$node" "$top/dev/$node"; done
mkdir "$top/dev/pts" "$top/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$top/dev/pts"
ln -s pts/ptmx "$top/dev/ptmx"; ln -s /proc/self/fd "$top/dev/fd"
ln -s fd/0 "$top/dev/stdin"; ln -s fd/1 "$top/dev/stdout"; ln -s fd/2 "$top/dev/stderr"
mount -t tmpfs -o mode=755 tmpfs "$top/run"
if [ "$v2" = 1 ]; then
  mount -t cgroup2 cgroup2 "$top/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$top/sys/fs/cgroup"
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
    [ -d "/sys/fs/cgroup/$controller" ] || continue
    mkdir "$top/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "$top/sys/fs/cgroup/$controller"
  done
  mkdir "$top/sys/fs/cgroup/systemd" "$top/sys/fs/cgroup/unified"
  mount -t cgroup -o none,name=systemd cgroup "$top/sys/fs/cgroup/systemd"
  mount -t cgroup2 cgroup2 "$top/sys/fs/cgroup/unified"
fi
mkdir -p "$top/.old"
cd "$top"; pivot_root . .old; cd /
umount -l /.old; rmdir /.old
ip link set lo up || true
exec env -i container=testbox PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --show-status=0 --log-target=journal
'

join
exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child --propagation private \
  bash -c "$inside" inside "$tree" "$work" "$v2"
