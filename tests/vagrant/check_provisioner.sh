#!/usr/bin/env bash
# Checks the Vagrantfile, and runs its provisioner twice in a fresh Debian root file system.
#
#   tests/vagrant/check_provisioner.sh      as root; needs the network; some minutes
#
# Rules:
# - The root file system is a temporary folder, entered with pivot_root in private mount and process
#   namespaces (inside a mere chroot an ordinary user may make no user namespace). The kernel takes
#   mounts and processes away when a step ends, however it ends; the trap takes the folder away.
# - Certificates, name servers, proxies and pip's configuration are this machine's.
# - `uname` says 6.1 at first, so that the kernel from backports is installed. Nothing boots it here.
# - "No change" means the same names, types, sizes, owners, modes, times and link targets everywhere.
set -euo pipefail

checkout=$(readlink -f -- "$(dirname -- "$0")/../..")
scratch=$(mktemp -d)
trap 'rm -rf --one-file-system -- "$scratch"' EXIT
root=$scratch/debian
log=$scratch/log

fail() {
    echo "check_provisioner: $*" >&2
    exit 1
}

# Runs a command with its output in the log, and prints how long it took.
timed() {
    local what=$1 began=$SECONDS
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        fail "$what: failed (above: the end of its output)"
    fi
    printf '%4d s  %s\n' "$((SECONDS - began))" "$what"
}

# Runs a command in the root file system.
inside() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --pid --fork --kill-child bash -euc '
        mount --bind "$0" "$0"
        cd "$0"
        mount --rbind /dev dev
        mount -t sysfs sysfs sys # as on any machine; without it nobody but root may mount another
        pivot_root . mnt
        cd /
        mount -t proc proc /proc
        umount -l /mnt
        exec "$@"' "$root" "$@"
}

as_vagrant() {
    inside setpriv --reuid vagrant --regid vagrant --init-groups env -C / HOME=/home/vagrant \
        PATH=/usr/local/bin:/usr/bin:/bin "$@"
}

# $1: a folder to look in first for programs.
provision() {
    inside env PATH="$1:/usr/sbin:/usr/bin:/sbin:/bin" /vagrant/vagrant/provision.sh /vagrant
}

snapshot() {
    inside find / -xdev \( -path /proc -o -path /dev -o -path /sys \) -prune -o \
        -printf '%p %y %s %U:%G %m %T@ %l\n' | sort
}

validate() {
    cd "$checkout" && VAGRANT_HOME=$scratch/home VAGRANT_DOTFILE_PATH=$scratch/dot \
        vagrant validate --ignore-provider
}

make_root() {
    apt-config dump | grep -E '^Acquire::(http|https|Check)[^ ]* ".+";' >"$scratch/apt.conf" || :
    mmdebstrap --variant=apt --include=python3,mount --aptopt="$scratch/apt.conf" bookworm "$root"
    mkdir "$root/vagrant"
    cp -L /etc/resolv.conf "$root/etc/"
    mkdir -p "$root/usr/local/share/ca-certificates" # read when ca-certificates is installed
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/outer.crt"
    if [[ -e /etc/pip.conf ]]; then cp /etc/pip.conf "$root/etc/"; fi
    inside useradd --create-home vagrant
    tar -C "$checkout" --exclude-vcs --exclude='./.venv*' --exclude='*_cache' -c . |
        tar -C "$root/vagrant" -x
    inside chown -R vagrant: /vagrant
    mkdir "$root/opt/old_kernel"
    printf '#!/bin/sh\necho 6.1.0-1-amd64\n' >"$root/opt/old_kernel/uname"
    chmod +x "$root/opt/old_kernel/uname"
}

# Runs a command that must leave the root file system as it is.
unchanged_by() {
    snapshot >"$scratch/before"
    "$@"
    snapshot >"$scratch/after"
    diff "$scratch/before" "$scratch/after"
}

# 5: the run is done, and its timing was too poor to be trusted; which is no fault of the provisioner.
run_topology() {
    local code=0
    as_vagrant timeout 120 testbed run single_bottleneck --requests 20 \
        --out /home/vagrant/recording || code=$?
    [[ $code -eq 0 || $code -eq 5 ]]
}

[[ $(id -u) -eq 0 ]] || fail "must run as root (got user $(id -un))"
for program in mmdebstrap vagrant; do
    command -v "$program" >/dev/null ||
        fail "needs $program: apt-get install --no-install-recommends mmdebstrap vagrant"
done

timed "vagrant validate" validate
timed "a fresh Debian 12 ($(uname -m))" make_root
timed "provisioned: kernel, packages, .venv" provision /opt/old_kernel
[[ -e $root/run/testbed-reboot-wanted ]] || fail "provision.sh must ask for a reboot (it did not)"
inside dpkg-query --show linux-image-amd64 iproute2 mininet
timed "provisioned again: no change" unchanged_by provision /opt/old_kernel
rm "$root/run/testbed-reboot-wanted"
timed "provisioned with a new kernel: no change" unchanged_by provision /nowhere
timed "testbed run single_bottleneck, as vagrant" run_topology
tail -n 15 "$log"
echo "check_provisioner: passed in $SECONDS s, $(du -sh "$root" | cut -f 1)B on disk"
