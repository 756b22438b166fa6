/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one logger. WSDIRECT_LOG names the lowest level shown (error, warn,
 * info, debug or off; default warn), WSDIRECT_LOG_FILE a file to append to
 * instead of standard error ("%p" becomes the pid).
 *
 * Async-signal-safe in effect: formats into a stack buffer with its own
 * formatter (%s %d %u %x %lu %zu %p %m-free), one write(2) a line, no malloc,
 * no stdio, errno kept. May be called under any lock.
 */
#ifndef WSD_BASE_LOG_H
#define WSD_BASE_LOG_H

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lowest level shown; read without a lock. Set once by log_open(). */
extern enum log_level log_threshold;

/* Reads the settings; called once from each library's constructor. */
void log_open(void);

/* After fork in the child: a file of its own if `log_file` holds %p. Async-signal-safe. */
void log_forked(void);

void log_write(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_at(level, ...) \
	do { if ((level) <= log_threshold) log_write((level), __VA_ARGS__); } while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* "ECONNREFUSED" for an errno value (positive or negative); never NULL, never allocates. */
const char *log_errno_name(int error);

#endif
