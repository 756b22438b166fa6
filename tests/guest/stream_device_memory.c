// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory of a device, which cannot be pinned, in a mapping of /dev/mem: what is sent from it
 * arrives, what is received into it counts as received, as over TCP. The same for the pages
 * that the kernel gives every process. Needs root and a PC's memory map below 1 MiB.
 */
#include "stream.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE		((size_t)128 << 10)
#define FIRMWARE	0xe0000		/* 128 KiB of ROM */
#define SCREEN		0xa0000		/* of the first graphics card: nothing is there, or RAM */
#define KERNEL_CODE	4096		/* of the vdso, at least */

static char *device(off_t where, int protection)
{
	int fd = open("/dev/mem", protection & PROT_WRITE ? O_RDWR : O_RDONLY);
	char *memory;

	check(fd >= 0);
	memory = mmap(NULL, SIZE, protection, MAP_SHARED, fd, where);
	check(memory != MAP_FAILED);
	close(fd);
	return memory;
}

static const char *kernel_code(void)
{
	const char *code = (const char *)getauxval(AT_SYSINFO_EHDR);

	check(code != NULL);
	return code;
}

/* Where the kernel keeps the time for programs: read by all, pinned by none. */
static char *kernel_data(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start = 0;
	char line[256];

	check(maps != NULL);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vvar]"))
			start = strtoul(line, NULL, 16);
	fclose(maps);
	check(start != 0);
	return (char *)start;
}

static void server(int listener)
{
	int fd = stream_accept(listener);
	char *buffer = malloc(SIZE), *firmware = device(FIRMWARE, PROT_READ);

	check(buffer != NULL);
	for (int i = 0; i < 2; i++) {
		check_count(recv(fd, buffer, SIZE, MSG_WAITALL), SIZE);
		check(memcmp(buffer, firmware, SIZE) == 0);
	}
	check_count(recv(fd, buffer, KERNEL_CODE, MSG_WAITALL), KERNEL_CODE);
	check(memcmp(buffer, kernel_code(), KERNEL_CODE) == 0);
	check_count(recv(fd, buffer, 100, MSG_WAITALL), 100);

	stream_pattern_fill(buffer, SIZE, 5, 0);
	stream_send_all(fd, buffer, SIZE);
	stream_send_all(fd, buffer, SIZE);
	check_count(recv(fd, buffer, 1, 0), 0);
	free(buffer);
	close(fd);
}

static void client(const struct sockaddr_in *peer)
{
	int fd = stream_connect(peer);
	char *firmware = device(FIRMWARE, PROT_READ), *screen = device(SCREEN, PROT_READ | PROT_WRITE);
	char *buffer = malloc(SIZE);

	check(buffer != NULL);
	check_count(send(fd, firmware, SIZE, 0), SIZE);
	/* Small pieces, which go another way. */
	for (size_t done = 0; done < SIZE; done += 1024)
		check_count(send(fd, firmware + done, 1024, 0), 1024);
	check_count(send(fd, kernel_code(), KERNEL_CODE, 0), KERNEL_CODE);
	check_count(send(fd, kernel_data(), 100, 0), 100);

	check_count(recv(fd, screen, SIZE, MSG_WAITALL), SIZE);
	check_count(recv(fd, buffer, SIZE, MSG_WAITALL), SIZE);
	stream_pattern_check(buffer, SIZE, 5, 0);
	free(buffer);
	close(fd);
}

int main(int argc, char **argv)
{
	return stream_main(argc, argv, &(struct stream_roles){ .server = server, .client = client });
}
