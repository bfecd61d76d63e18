#!/bin/sh
# Makes a Debian machine ready for the testbed: a kernel with a whole netem, then ./tb.
#
#   provision.sh CHECKOUT      as root, as often as you like: a second time changes nothing
#
# A kernel older than the wanted one is replaced through the distribution's backports, from the
# mirror that apt already uses. The file /run/testbed-reboot-wanted then asks for a reboot (it is in
# memory, so the reboot takes it away).
set -eu

wanted_kernel=6.12 # its netem takes a seed, as does the iproute2 that comes with it
checkout=${1:?usage: provision.sh CHECKOUT}
sources=/etc/apt/sources.list.d/testbed-backports.sources
reboot_wanted=/run/testbed-reboot-wanted

say() { printf 'provision: %s\n' "$*"; }

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get --yes -o DPkg::Lock::Timeout=300 "$@"; }


# Adds the backports of release $1 beside its main archive: the same mirror, Debian's own key.
add_backports() {
    [ ! -e "$sources" ] || return 0
    apt_get update
    # shellcheck disable=SC2016 # apt's variable
    site=$(apt-get indextargets --format '$(SITE)' \
        "Created-By: Packages" "Codename: $1" "Component: main" | head -n 1)
    if [ -z "$site" ]; then
        say "apt must have a source for Debian $1, whose backports are wanted (it has none)" >&2
        exit 3
    fi
    {
        echo "# made by the testbed's provision.sh"
        echo "Types: deb"
        echo "URIs: $site"
        echo "Suites: $1-backports"
        echo "Components: main"
        echo "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"
    } >"$sources.new"
    mv "$sources.new" "$sources"
    apt_get update
}

need_kernel() {
    running=$(uname -r)
    if dpkg --compare-versions "$running" ge "$wanted_kernel"; then
        say "kernel $running is new enough"
        return
    fi
    package=linux-image-$(dpkg --print-architecture)
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # The box has a package of this name as well: only its version tells.
    installed=$(dpkg-query --show --showformat '${Version}' "$package" 2>/dev/null || echo 0)
    if ! dpkg --compare-versions "$installed" ge "$wanted_kernel"; then
        say "kernel $running is older than $wanted_kernel: installing $package from $suite-backports"
        add_backports "$suite"
        apt_get install --no-install-recommends --target-release "$suite-backports" \
            "$package" iproute2
    fi
    say "a reboot is wanted: kernel $running still runs"
    [ -e "$reboot_wanted" ] || : >"$reboot_wanted"
}

need_command() {
    [ "$(readlink /usr/local/bin/testbed)" = "$checkout/tb" ] ||
        ln -sfn "$checkout/tb" /usr/local/bin/testbed
}

need_kernel
"$checkout/tb" setup
need_command
say "ready: testbed run single_bottleneck"
