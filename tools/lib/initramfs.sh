# SPDX-License-Identifier: BSD-2-Clause
# The guest's initramfs: busybox and the few modules that are needed before
# the host's root is there. Sourced by tools/vm.

initramfs_modules='virtio_pci 9p 9pnet_virtio overlay virtio_console virtio_rng'

# initramfs_build MODULES_DIRECTORY OUTPUT
initramfs_build()
{
	local modules=$1 output=$2 tree base release module path name status

	release=$(basename "$modules")
	base=${modules%/lib/modules/*}
	tree=$(mktemp -d) || return 1
	mkdir -p "$tree/bin" "$tree/modules" "$tree/dev"
	cp "$(command -v busybox)" "$tree/bin/busybox" &&
	cp "$wsdirect_tools/guest/initramfs-init" "$tree/init" || return 1
	for module in $initramfs_modules; do
		modprobe -d "$base" -S "$release" --show-depends "$module" 2>/dev/null ||
			{ say "kernel $release has no module $module"; return 1; }
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
	while read -r path; do
		name=$(basename "$path")
		case $name in
		*.xz)
			name=${name%.xz}
			xz -dc "$path" >"$tree/modules/$name" ;;
		*)
			cp "$path" "$tree/modules/$name" ;;
		esac
		printf '%s\n' "$name"
	done >"$tree/modules/order"
	[ "${PIPESTATUS[0]}" -eq 0 ] &&
	(cd "$tree" && find . | cpio --quiet -o -H newc) | gzip -1 >"$output.new.$$" &&
	mv "$output.new.$$" "$output"
	status=$?
	rm -rf "$tree"
	return "$status"
}

# initramfs_ensure MODULES_DIRECTORY: sets initramfs, building it when what goes into it changed.
initramfs_ensure()
{
	local input

	initramfs=$wsdirect_cache/initramfs-$(basename "$1")
	for input in "$1/modules.dep" "$wsdirect_tools/guest/initramfs-init" \
		     "$wsdirect_tools/lib/initramfs.sh"; do
		if [ ! -e "$initramfs" ] || [ "$input" -nt "$initramfs" ]; then
			initramfs_build "$1" "$initramfs"
			return
		fi
	done
}
