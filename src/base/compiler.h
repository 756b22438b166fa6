/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words to the compiler that C has none for.
 */
#ifndef WSD_BASE_COMPILER_H
#define WSD_BASE_COMPILER_H

/* Keeps what is seldom needed out of a short path: its registers would be saved there. */
#define NOT_INLINE __attribute__((noinline))

#endif
