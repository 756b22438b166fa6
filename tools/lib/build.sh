# SPDX-License-Identifier: BSD-2-Clause
# Building the tree the way the scripts under tools/ need it: libraries, tools and tests on
# this host, the module for the guest's kernel. Sourced after lib/common.sh.

wsdirect_build=${WSDIRECT_BUILD:-$wsdirect_top/build}
case $wsdirect_build in
/*) ;;
*) wsdirect_build=$PWD/$wsdirect_build ;;
esac
wsdirect_preload=$wsdirect_build/src/preload/libwsdirect-preload.so
wsdirect_provider=$wsdirect_build/src/san/verbs/libwsdirect-verbs.so
wsdirect_module=$wsdirect_build/kmod/wsdirect.ko
export WSDIRECT_BUILD=$wsdirect_build

# build_all KERNEL: builds what changed since the last time, with the module for that kernel of
# the guest. KERNEL may be native: then what is configured of the module stays as it is.
build_all()
{
	local kdir=

	if [ "$1" != native ]; then
		kdir=$("$wsdirect_tools/setup" --kernel "$1" --print-kdir) || die "no kernel headers"
	fi
	if [ ! -e "$wsdirect_build/build.ninja" ]; then
		say "configuring $wsdirect_build"
		meson setup "$wsdirect_build" "$wsdirect_top" -Dwerror=true -Dkernel_headers="$kdir" >&2 ||
			die "meson could not configure the build"
	elif [ -n "$kdir" ] && ! grep -qF "KDIR=$kdir " "$wsdirect_build/build.ninja"; then
		# Configured by hand, or for another kernel.
		say "configuring $wsdirect_build for kernel $1"
		meson setup --reconfigure "$wsdirect_build" -Dkernel_headers="$kdir" >/dev/null ||
			die "meson could not configure the build anew"
	fi
	# The build has looked for what is measured beside wsdirect when it was configured.
	if pkg-config --exists libfabric ucx-uct &&
	   ! grep -q registration_ucx "$wsdirect_build/build.ninja"; then
		meson setup --reconfigure "$wsdirect_build" >/dev/null ||
			die "meson could not configure the build anew"
	fi
	say "building"
	ninja -C "$wsdirect_build" >"$wsdirect_build/build.log" 2>&1 || {
		tail -n 40 "$wsdirect_build/build.log" >&2
		die "the build failed; all of its output is in $wsdirect_build/build.log"
	}
}
