/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words to the compiler that C has none for.
 */
#ifndef WSD_BASE_COMPILER_H
#define WSD_BASE_COMPILER_H

/* Keeps what is seldom needed out of a short path: its registers would be saved there. */
#define NOT_INLINE __attribute__((noinline))

/* What it reads is written by nobody whom ThreadSanitizer knows. */
#define NOT_WATCHED __attribute__((no_sanitize("thread")))

#endif
