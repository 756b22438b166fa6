/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One way of getting buffers registered, as registration_bench measures it. Each
 * registrar_NAME.c is one; a program has exactly one of them.
 */
#ifndef WSD_BENCH_REGISTRAR_H
#define WSD_BENCH_REGISTRAR_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a registration outlives its use. */
extern const bool registrar_caches;

/* Whether changes of a mapping are seen: otherwise munmap() costs what it always does. */
extern const bool registrar_watches;

/* Opens the RDMA device @device, with room for all buffers. Ends the program if it cannot. */
void registrar_open(const char *device);

/* A registration for local and remote reading and writing, until it is put. 0 or -errno. */
int registrar_get(void *address, size_t length, void **held);
void registrar_put(void *held);

/*
 * The mapping of [@address, @address + @length), which was registered, has changed: does the
 * next thing of a program's ordinary course that lets the old registration go. Called again
 * until it is gone.
 */
void registrar_settle(void *address, size_t length);

#endif
