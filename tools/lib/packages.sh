# SPDX-License-Identifier: BSD-2-Clause
# The Debian packages that building, testing and the guest need.
# Sourced by tools/setup after lib/common.sh.

packages_needed=(
	# building the libraries, the tools and their unit tests
	meson ninja-build pkg-config gcc clang libc6-dev
	libibverbs-dev librdmacm-dev check
	# building the kernel module, and a debug kernel to run it on
	make bc flex bison libelf-dev libssl-dev sparse kmod xz-utils zstd
	# the guest
	qemu-system-x86 busybox-static cpio iproute2 procps
	# RDMA user space inside the guest
	rdma-core ibverbs-providers ibverbs-utils rdmacm-utils perftest
	# programs that are run unmodified over the library
	iperf3 redis-server redis-tools memcached libmemcached-tools curl python3 strace
)

# What only tools/bench needs, to measure beside it; tools/setup --bench adds them.
packages_bench=(libfabric-dev libucx-dev)

# Prints those of packages_needed that are not installed.
packages_missing()
{
	local package
	local -A installed=()

	while read -r package; do
		installed[$package]=1
	done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages_needed[@]}" \
		 2>/dev/null | sed -n 's/^installed //p')
	for package in "${packages_needed[@]}"; do
		[ -n "${installed[$package]:-}" ] || printf '%s\n' "$package"
	done
}

apt_update()
{
	# One source that cannot be reached must not stop us: what is missing shows
	# when a package of it is asked for.
	apt-get -q -o DPkg::Lock::Timeout=120 "$@" update >&2 ||
		say "apt-get update reported errors; going on with what it has"
}

# Daemons among the packages must not start: they are only run by tests. Debian's way to
# say so is /usr/sbin/policy-rc.d; whatever was there before is put back.
packages_forbid_services()
{
	policy=/usr/sbin/policy-rc.d
	policy_saved=
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		policy_saved=$policy.before-wsdirect
		[ -e "$policy_saved" ] || mv "$policy" "$policy_saved"
	fi
	trap packages_allow_services EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

packages_allow_services()
{
	trap - EXIT INT TERM
	rm -f "$policy"
	[ -z "$policy_saved" ] || mv "$policy_saved" "$policy"
}

packages_install()
{
	local missing service

	mapfile -t missing < <(packages_missing)
	[ "${#missing[@]}" -gt 0 ] || return 0
	[ "$(id -u)" -eq 0 ] ||
		die "these packages are missing, and only root can install them: ${missing[*]}"
	say "installing ${#missing[@]} packages: ${missing[*]}"
	apt_update
	packages_forbid_services
	DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
		-o DPkg::Lock::Timeout=120 install "${missing[@]}" >&2 ||
		die "apt-get could not install the packages; its messages are above"
	# Nor should they start at the next boot of a developer's machine.
	for service in redis-server memcached iperf3; do
		case " ${missing[*]} " in
		*" $service "*)
			update-rc.d "$service" disable >/dev/null 2>&1 || true ;;
		esac
	done
	packages_allow_services
	mapfile -t missing < <(packages_missing)
	[ "${#missing[@]}" -eq 0 ] || die "still missing after apt-get: ${missing[*]}"
}
