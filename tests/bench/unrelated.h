/* SPDX-License-Identifier: BSD-2-Clause */
/* munmap of memory that was never registered, here and in a process that registers nothing. */
#ifndef WSD_BENCH_UNRELATED_H
#define WSD_BENCH_UNRELATED_H

/*
 * Starts the other process. To be called when the buffers are mapped, and before any
 * library that watches memory is at work in this one.
 */
void unrelated_start(void);

/* Nanoseconds of a munmap here, with this many threads doing it; in *elsewhere, there. */
double unrelated_measure(unsigned threads, double *elsewhere);

/* Ends the other process. */
void unrelated_stop(void);

#endif
