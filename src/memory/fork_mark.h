/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A word that tells the process that made it from that process's children,
 * however they were made (fork, clone, raw system call), for the price of a load.
 */
#ifndef WSD_MEMORY_FORK_MARK_H
#define WSD_MEMORY_FORK_MARK_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * Maps a page whose first word is 1 here and 0 in children. Released by
 * fork_mark_free(). -ENOMEM; -EINVAL: the kernel does not know MADV_WIPEONFORK (4.14).
 */
int fork_mark_alloc(const _Atomic uint32_t **mark);
void fork_mark_free(const _Atomic uint32_t *mark);

#endif
