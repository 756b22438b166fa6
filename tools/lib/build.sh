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
export WSDIRECT_BUILD=$wsdirect_build

# Builds what changed since the last time. With the argument native, without the module that
# the guest's kernel would load.
build_all()
{
	local kdir=

	if [ ! -e "$wsdirect_build/build.ninja" ]; then
		if [ "${1:-}" != native ]; then
			kdir=$("$wsdirect_tools/setup" --print-kdir) || die "no kernel headers"
		fi
		say "configuring $wsdirect_build"
		meson setup "$wsdirect_build" "$wsdirect_top" -Dwerror=true -Dkernel_headers="$kdir" >&2 ||
			die "meson could not configure the build"
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
