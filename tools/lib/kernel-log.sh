# SPDX-License-Identifier: BSD-2-Clause
# What in a kernel log means that something is broken. Sourced by scripts that read one.

# Reports that are the kernel's own, with or without wsdirect.ko, by what their first line shows.
# - hugetlb_split: splitting a mapping of huge pages asserts a lock that 6.1 does not take there;
#   any munmap of one of several huge pages shows it on the debug kernel.
# - rxe_mr_copy: when a copy ends with the last of a multiple of 256 pages, 6.1 reads the pointer
#   behind its array of pages, and does not use it.
kernel_log_known='WARNING: .* hugetlb_split[+]|KASAN: slab-out-of-bounds in rxe_mr_copy[+]'

# Reads a kernel log, prints the lines that complain. Empty output: a clean log.
kernel_log_complaints()
{
	# A report lies between "cut here" and "end trace", but for those that are told by their
	# first line alone; a known one is dropped as a whole.
	awk -v known="$kernel_log_known" '
		/\[ cut here \]/ { held = 1; report = ""; skip = 0 }
		held { report = report $0 "\n"; if ($0 ~ known) skip = 1 }
		!held && $0 !~ known { print }
		/\[ end trace / && held { held = 0; if (!skip) printf "%s", report }
		END { if (held) printf "%s", report }' |
	grep -E -e 'WARNING:|BUG:|Oops|KASAN: |UBSAN|KFENCE: |kmemleak:.*new suspected' \
		-e 'INFO: (possible|task|trying|rcu|inconsistent|suspicious)' \
		-e 'rcu:.*(stall|detected)|soft lockup|hard LOCKUP' \
		-e 'general protection fault|unable to handle|kernel BUG' \
		-e 'refcount_t|list_(add|del) corruption|Bad page|bad page|ODEBUG' \
		-e 'scheduling while atomic|sleeping function called'
}
