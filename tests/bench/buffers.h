/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The buffers that every way of registering is measured with, and how often each of them
 * was registered and given back: a hit that registers is none.
 */
#ifndef WSD_BENCH_BUFFERS_H
#define WSD_BENCH_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

#define BUFFER_PAGES	4
#define MOST_REGIONS	10000
#define MOST_THREADS	2
#define OPERATIONS	256		/* of a thread, where single ones are timed */
/* Behind those that stay cached lie some for each thread that come and go. */
#define BUFFERS		(MOST_REGIONS + MOST_THREADS * OPERATIONS)

/* Maps them all, every page in place. */
void buffers_map(void);
size_t buffer_size(void);

/* A page lies between two buffers, so that neighbours are not joined. */
char *buffer_at(unsigned n);

/* A buffer is mapped anew, at its old address; its memory was unmapped before. */
void buffer_map_again(unsigned n);

/* Told by whoever calls the device, whatever stands for it. Any thread. */
void count_registered(const void *address);
void count_given_back(const void *address);

unsigned times_registered(unsigned n);
unsigned times_given_back(unsigned n);

/* Ends the program unless @error is 0; @error is 0 or -errno. */
void must(int error, const char *what);

#endif
