/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors of our own live where applications do not look: high and
 * close-on-exec.
 */
#ifndef WSD_BASE_DESCRIPTOR_H
#define WSD_BASE_DESCRIPTOR_H

/*
 * Moves @fd to a high number with close-on-exec set, closes the old number and
 * returns the new one. Programs rely on "the lowest free number is given out",
 * and some close a low range outright; up there neither meets us. Where no
 * number is free the descriptor stays where it is, close-on-exec all the same.
 * Never fails for an open @fd; a negative @fd is returned as it is.
 * Async-signal-safe.
 */
int descriptor_hide(int fd);

/*
 * Where hidden descriptors are, by the limit of now: from the first up to, but
 * not including, the end. Others may be there too.
 */
int descriptor_hidden_first(void);
int descriptor_hidden_end(void);

#endif
