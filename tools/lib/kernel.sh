# SPDX-License-Identifier: BSD-2-Clause
# Guest kernels: fetched from Debian's packages, unpacked in the cache, never installed.
# Sourced after lib/common.sh and lib/packages.sh.
#
# A kernel NAME is complete when $wsdirect_cache/kernel-NAME/release exists (and, for debug, was
# built with tools/guest/debug.config as it is now). Then
#   kernel_load NAME  sets kernel_release, kernel_image (an uncompressed ELF vmlinux: without
#   hardware virtualisation, unpacking itself is half of a kernel's boot), kernel_modules (the
#   directory /lib/modules/RELEASE) and kernel_kdir (what `make -C KDIR M=...` needs).

kernel_names='6.1 6.12 debug'

kernel_check_name()
{
	case " $kernel_names " in
	*" $1 "*) ;;
	*) usage_error "no kernel '$1'; there is: $kernel_names" ;;
	esac
}

kernel_load()
{
	local directory=$wsdirect_cache/kernel-$1

	[ -s "$directory/release" ] || return 1
	# One of another configuration is none.
	[ "$1" != debug ] || cmp -s "$wsdirect_tools/guest/debug.config" "$directory/config" || return 1
	kernel_release=$(cat "$directory/release")
	kernel_image=$directory/vmlinux
	[ "$1" != debug ] || kernel_image=$directory/bzImage
	kernel_modules=$directory/lib/modules/$kernel_release
	kernel_kdir=$directory/usr/src/linux-headers-$kernel_release
	[ -e "$kernel_image" ] && [ -d "$kernel_modules" ] && [ -d "$kernel_kdir" ]
}

# Sets apt_options for the suite that has the kernel. Backports gets its own source list
# and its own lists in the cache, so that the machine's apt configuration stays as it is.
# The mirror is the one the machine already uses.
kernel_select_suite()
{
	local name=$1 private codename site keyring

	apt_options=(-o APT::Sandbox::User=root)
	[ "$name" = 6.12 ] || return 0

	codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
	site=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
	       sed -n "s/^$codename //p" | head -n 1)
	[ -n "$site" ] || die "apt has no source for '$codename', so no mirror for its backports"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	private=$wsdirect_cache/apt-backports
	mkdir -p "$private/lists/partial" "$private/cache/archives/partial"
	printf 'deb %s%s %s-backports main\n' \
		"$([ ! -e "$keyring" ] || printf '[signed-by=%s] ' "$keyring")" \
		"$site" "$codename" >"$private/sources.list"
	apt_options+=(-o "Dir::Etc::sourcelist=$private/sources.list"
		      -o Dir::Etc::sourceparts=/dev/null
		      -o "Dir::State::lists=$private/lists"
		      -o "Dir::Cache=$private/cache")
}

# The package that PACKAGE depends on and whose name matches PATTERN.
kernel_dependency()
{
	apt-cache "${apt_options[@]}" depends --no-recommends --no-suggests "$1" 2>/dev/null |
		sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1
}

# number_at FILE OFFSET BYTES: a little-endian number
number_at()
{
	od -A n -t "u$3" -j "$2" -N "$3" --endian=little "$1" | tr -d ' '
}

# kernel_unpack_image BZIMAGE OUTPUT: the boot protocol's header says where the payload is
# (setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c). The payload ends
# with its unpacked size, which the decompressors take for garbage.
kernel_unpack_image()
{
	local start length size magic unpack

	start=$((($(number_at "$1" 497 1) + 1) * 512 + $(number_at "$1" 584 4)))
	length=$(number_at "$1" 588 4)
	size=$(number_at "$1" $((start + length - 4)) 4)
	magic=$(od -A n -t x1 -j "$start" -N 4 "$1" | tr -d ' ')
	case $magic in
	fd377a58) unpack='xz --decompress --stdout --single-stream' ;;
	28b52ffd) unpack='zstd --decompress --stdout --quiet' ;;
	*) say "$1 is compressed in a way this script does not know ($magic)"; return 1 ;;
	esac
	tail -c "+$((start + 1))" "$1" | head -c $((length - 4)) | $unpack >"$2" &&
		[ "$(stat -c %s "$2")" -eq "$size" ]
}

kernel_fetch()
{
	local name=$1 directory=$wsdirect_cache/kernel-$1
	local new=$directory.new image headers common kbuild package release link

	kernel_select_suite "$name"
	image=$(kernel_dependency linux-image-amd64 'linux-image-.*')
	if [ "$name" = 6.12 ] || [ -z "$image" ]; then
		apt_update "${apt_options[@]}"
		image=$(kernel_dependency linux-image-amd64 'linux-image-.*')
	fi
	release=${image#linux-image-}
	case $release in
	"$name".*) ;;
	*) die "linux-image-amd64 depends on '$image', which is not a $name kernel" ;;
	esac
	headers=linux-headers-$release
	common=$(kernel_dependency "$headers" 'linux-headers-.*-common')
	kbuild=$(kernel_dependency "$headers" 'linux-kbuild-.*')
	[ -n "$common" ] && [ -n "$kbuild" ] || die "apt does not know the packages of $headers"

	say "fetching kernel $release into $directory"
	rm -rf "$new"
	mkdir -p "$new/packages"
	if ! (cd "$new/packages" && apt-get -q "${apt_options[@]}" download \
	      "$image" "$headers" "$common" "$kbuild" >&2); then
		# The machine's package lists may be older than its mirror.
		apt_update "${apt_options[@]}"
		(cd "$new/packages" && apt-get -q "${apt_options[@]}" download \
		 "$image" "$headers" "$common" "$kbuild" >&2) ||
			die "could not download kernel $release"
	fi
	for package in "$new"/packages/*.deb; do
		dpkg -x "$package" "$new" || die "could not unpack $package"
	done
	rm -rf "$new/packages" "$directory"

	# The packages expect to be at /: point what is absolute into the cache instead.
	sed -i "s|^include /usr/src/|include $directory/usr/src/|" "$new/usr/src/$headers/Makefile"
	find "$new/lib" "$new/usr" -type l -lname '/*' -printf '%p\n%l\n' |
	while read -r link && read -r package; do
		ln -sfn "$directory$package" "$link"
	done
	# Type information for the module would need pahole, of a version that fits the kernel's
	# own, and nothing here reads it. autoconf.h keeps the layout of struct module.
	sed -i '/^CONFIG_DEBUG_INFO_BTF_MODULES=/d' "$new/usr/src/$headers/include/config/auto.conf"
	depmod -b "$new" "$release" || die "depmod failed for $release"
	kernel_unpack_image "$new/boot/vmlinuz-$release" "$new/vmlinux" ||
		die "could not unpack the image of kernel $release"
	mv "$new" "$directory"
	printf '%s\n' "$release" >"$directory/release"
}

# Makes kernel NAME available, fetching or building it if need be, and loads it.
kernel_ensure()
{
	kernel_check_name "$1"
	kernel_load "$1" && return 0
	mkdir -p "$wsdirect_cache" || die "cannot create $wsdirect_cache"
	# Two scripts started together must not unpack over each other.
	exec 9>"$wsdirect_cache/lock"
	flock 9
	if ! kernel_load "$1"; then
		if [ "$1" = debug ]; then
			"$wsdirect_tools/guest/debug-kernel" >&2 9>&- ||
				die "could not build the debug kernel"
		else
			kernel_fetch "$1"
		fi
	fi
	exec 9>&-
	kernel_load "$1" || die "kernel $1 is not complete in $wsdirect_cache/kernel-$1"
}
