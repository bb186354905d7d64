#!/usr/bin/env bash
# Builds a small Debian 12 with systemd for the tests, from the apt sources of this machine. Needs root.
#
#   build.sh DIRECTORY      DIRECTORY/tree               what boots in namespaces
#                           DIRECTORY/{vmlinuz,initrd.img,root.img}   the same for a virtual machine
#
# Packages: mmdebstrap, e2fsprogs.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
directory=$1
tree=$directory/tree
units=$tree/etc/systemd/system

packages=systemd-sysv,dbus,libpam-systemd,python3,procps,util-linux,kmod,udev,iproute2,linux-image-cloud-amd64
# what a server without network and terminal only waits for: 25 s of boot become 18
masked=(
  getty@.service serial-getty@.service systemd-timesyncd.service systemd-networkd.service
  systemd-networkd-wait-online.service systemd-network-generator.service systemd-firstboot.service
  e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
)

sources() { # the Debian archives that this machine uses, one line each
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' | sort -u
}

unpack() {
  local proxy options=()
  while IFS= read -r proxy; do options+=("--aptopt=$proxy"); done < <(apt-config dump --format '%f "%v";%n' | grep -i '^Acquire::[a-z]*::Proxy' || true)
  sources | mmdebstrap --quiet --variant=minbase --include="$packages" "${options[@]}" \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    bookworm "$tree" -
}

configure() {
  local unit
  for unit in "${masked[@]}"; do ln -sf /dev/null "$units/$unit"; done
  echo testbox >"$tree/etc/hostname"
  printf '127.0.0.1 localhost testbox\n::1 localhost\n' >"$tree/etc/hosts"
  : >"$tree/etc/fstab"
  systemd_id >"$tree/etc/machine-id"
  cp "$here/agent.py" "$tree/usr/local/lib/agent.py"
  cp "$here/agent.service" "$units/agent.service"
  mkdir -p "$units/multi-user.target.wants"
  ln -sf /etc/systemd/system/agent.service "$units/multi-user.target.wants/agent.service"
}

systemd_id() { od -An -tx1 -N16 /dev/urandom | tr -d ' \n'; echo; }

make_image() {
  local kernel megabytes
  sed -i 's/^MODULES=.*/MODULES=list/' "$tree/etc/initramfs-tools/initramfs.conf"
  printf 'virtio_pci\nvirtio_blk\nvirtio_console\n' >>"$tree/etc/initramfs-tools/modules"
  kernel=$(basename "$(echo "$tree"/usr/lib/modules/*)")
  chroot "$tree" mkinitramfs -o /boot/initrd.small "$kernel"
  mv "$tree/boot/initrd.small" "$directory/initrd.img"
  mv "$tree/boot/vmlinuz-$kernel" "$directory/vmlinuz"
  rm -f "$tree"/boot/initrd.img-*
  megabytes=$(($(du -sm "$tree" | cut -f1) + 300))
  mke2fs -q -F -t ext4 -O ^has_journal -d "$tree" "$directory/root.img" "${megabytes}M"
}

mkdir -p "$directory"
unpack
configure
make_image
