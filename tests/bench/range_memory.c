// SPDX-License-Identifier: BSD-2-Clause
/*
 * How much kernel memory a secured range takes, besides its share of a page of state words:
 * what all slabs together grow by when 10,000 are secured, and what the module's own objects
 * take of that. For a guest that does nothing else, as root.
 *
 * Prints lines like registration_bench.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "monitor.h"
#include "settings.h"

#define RANGES 10000

static void must(int error, const char *what)
{
	if (error == 0)
		return;
	fprintf(stderr, "range_memory: %s: %s\n", what, strerror(-error));
	exit(EXIT_FAILURE);
}

/* Bytes of the pages of all slabs. */
static double slabs(void)
{
	FILE *file = fopen("/proc/slabinfo", "re");
	char line[512];
	double pages = 0;

	if (!file)
		must(-errno, "/proc/slabinfo");
	while (fgets(line, sizeof(line), file)) {
		unsigned long each, number;
		const char *data = strstr(line, ": slabdata");

		/* name active objects size objects-per-slab pages-per-slab : ... slabs ... */
		if (!data || sscanf(line, "%*s %*u %*u %*u %*u %lu", &each) != 1 ||
		    sscanf(data, ": slabdata %*u %lu", &number) != 1)
			continue;
		pages += (double)each * (double)number;
	}
	fclose(file);
	return pages * (double)sysconf(_SC_PAGESIZE);
}

/* What the module's ranges take each, with their share of what is left over in a slab. */
static double object(void)
{
	static const char *const names[] = { "order", "objs_per_slab" };
	unsigned long values[2];

	for (unsigned i = 0; i < 2; i++) {
		char path[128];
		FILE *file;

		snprintf(path, sizeof(path), "/sys/kernel/slab/wsdirect_range/%s", names[i]);
		file = fopen(path, "re");
		if (!file || fscanf(file, "%lu", &values[i]) != 1)
			must(file ? -EIO : -errno, path);
		fclose(file);
	}
	return (double)((unsigned long)sysconf(_SC_PAGESIZE) << values[0]) / (double)values[1];
}

int main(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct monitor_watch watch;
	struct monitor *monitor;
	double before;
	char *area = mmap(NULL, 2 * RANGES * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		must(-errno, "memory");
	settings_open();
	must(monitor_open("module", &monitor), "/dev/wsdirect");
	/* The first one of a process brings what there is one of. */
	must(monitor_secure(monitor, (uintptr_t)area, page, MEMORY_READ, &watch), "securing");
	before = slabs();
	for (size_t i = 1; i < RANGES; i++)
		must(monitor_secure(monitor, (uintptr_t)area + 2 * i * page, page, MEMORY_READ,
				    &watch), "securing");
	printf("kernel memory of a range\t%d\t%.4g\tbytes\n", RANGES,
	       (slabs() - before) / (RANGES - 1));
	printf("kernel memory of its object\t%d\t%.4g\tbytes\n", RANGES, object());
	monitor_close(monitor);
	return EXIT_SUCCESS;
}
