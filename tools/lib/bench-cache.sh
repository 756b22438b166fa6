# SPDX-License-Identifier: BSD-2-Clause
# The part of tools/bench that measures what it costs to have memory registered: the same
# program for each way of registering (tests/bench/registration_bench.c), on the same device.
# Sourced by tools/bench, whose record, heading and row it uses.

cache_counts='1 100 10000'

# cache_alone DIR: our cache without a device, on this host; before anything boots.
cache_alone()
{
	local threads

	: >"$1/alone.tsv" >"$1/alone.log"
	for threads in 1 2; do
		"$wsdirect_build/tests/bench/cache_bench" "$threads" >>"$1/alone.tsv" \
			2>>"$1/alone.log" || return
	done
}

# cache_record NAME: records the lines of standard input as measured with NAME.
cache_record()
{
	local what regions value unit

	while IFS=$'\t' read -r what regions value unit; do
		record "$what" "$1" "$regions" "$value" "$unit"
	done
}

# cache_program NAME PROGRAM [VARIABLE=VALUE]...
cache_program()
{
	local name=$1 run=$wsdirect_build/tests/bench/$2 threads

	shift 2
	echo "+ $name: $run" >>"$log"
	if [ ! -x "$run" ]; then
		echo "not built: its packages are not installed" >>"$log"
		return
	fi
	for threads in 1 2; do
		timeout 240 env "$@" "$run" "$threads" "$device" 2>>"$log" </dev/null |
			cache_record "$name"
		[ "${PIPESTATUS[0]}" -eq 0 ] ||
			say "$name, $threads threads: not measured in full; see $log"
	done
}

# In a control group of its own, as services run: then the kernel also keeps whom to charge.
# Before the others, which would leave slabs half empty.
cache_range_memory()
{
	local group=/sys/fs/cgroup/wsdirect-bench

	(
		if [ -z "$native" ]; then
			echo +memory >/sys/fs/cgroup/cgroup.subtree_control &&
				mkdir "$group" && echo "$BASHPID" >"$group/cgroup.procs"
		fi
		exec "$wsdirect_build/tests/bench/range_memory"
	) 2>>"$log" | cache_record wsdirect
}

cache_measure()
{
	if [ -z "$baselines" ]; then
		cache_range_memory
	fi
	cache_record alone <"$output/alone.tsv"
	cache_program ibv_reg_mr registration_verbs
	cache_program memhooks registration_libfabric FI_MR_CACHE_MONITOR=memhooks
	cache_program userfaultfd registration_libfabric FI_MR_CACHE_MONITOR=userfaultfd
	cache_program UCX registration_ucx
	if [ -z "$baselines" ]; then
		cache_program wsdirect registration_wsdirect
	fi
}

# cache_rows TITLE WHAT [WHAT-WITHOUT-A-CACHE]: a row for each count of regions.
cache_rows()
{
	local title=$1 what=$2 use=${3:-} count name

	heading "$title" ibv_reg_mr memhooks userfaultfd UCX wsdirect alone
	for count in $cache_counts; do
		printf '%-24s' "  $count cached"
		printf ' %12s' "$([ -z "$use" ] && echo - || figure "$use" ibv_reg_mr 1)"
		for name in memhooks userfaultfd UCX wsdirect alone; do
			printf ' %12s' "$(figure "$what" "$name" "$count")"
		done
		printf '\n'
	done
}

cache_print()
{
	printf '\nregistering buffers of 16 KiB. memhooks, userfaultfd: monitors of libfabric. alone:\n'
	printf 'our cache without a device, on the host itself. ibv_reg_mr: each use registers.\n'
	printf 'docs/testing.md says what is timed.\n'
	cache_rows 'hit, ns' hit
	cache_rows 'hit inside a region, ns' 'hit inside'
	cache_rows 'hits of 2 threads, times' 'hits, 2 threads'
	cache_rows 'miss, us' miss use
	cache_rows '  with 2 threads' 'miss, 2 threads' 'use, 2 threads'
	cache_rows 'munmap of a cached, us' 'changing munmap'
	cache_rows '  with 2 threads' 'changing munmap, 2 threads'
	cache_rows 'giving it back, us' invalidation
	cache_rows '  with 2 threads' 'invalidation, 2 threads'
	cache_rows 'unrelated munmap, us' 'unrelated munmap'
	cache_rows '  with 2 threads' 'unrelated munmap, 2 threads'
	cache_rows '  beside none, times' 'unrelated munmap beside none'
	heading 'kernel memory, bytes' '' '' '' '' wsdirect
	row '  of a range' 'kernel memory of a range' 10000 - - - - wsdirect
	row '  of its object' 'kernel memory of its object' 10000 - - - - wsdirect
}
