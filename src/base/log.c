// SPDX-License-Identifier: BSD-2-Clause
/*
 * The logger: one line, one write, from any context.
 *
 * The descriptor written to may no longer be what it was: programs close
 * standard error and get a socket with its number, or close every descriptor
 * they know nothing of. So each line first makes sure that the number still
 * names the file it named at the start. A line costs a few system calls; a
 * line that is not shown costs one comparison.
 */
#include "log.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "descriptor.h"
#include "log_start.h"
#include "settings.h"
#include "system.h"
#include "text.h"

#define LOG_LINE_SIZE 1024

/* The kernel's signal set: libc's is larger and masks libc's own signals. */
typedef uint64_t kernel_signal_set;

enum log_level log_threshold = LOG_WARN;

/* Written by log_start() and, in a new process, by log_forked(). */
static char log_path[PATH_MAX];	/* empty: standard error */
static bool log_path_has_pid;
static struct stat log_identity;	/* of the file, or of standard error at the start */
static bool log_identity_known;

/*
 * Where lines go. Changes when somebody else closed our descriptor and a line
 * reopens the file; relaxed, since a number is all that is handed over.
 */
static atomic_int log_descriptor = STDERR_FILENO;

static const char *const level_names[] = {
	[LOG_OFF] = "off", [LOG_ERROR] = "error", [LOG_WARN] = "warn",
	[LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

/* Copies the setting log_file, with %p replaced by the pid. False if too long. */
static bool log_path_expand(void)
{
	const char *from = setting_text(SETTING_log_file);
	size_t at = 0;

	log_path_has_pid = false;
	for (; *from && at < sizeof(log_path) - 1; from++) {
		if (from[0] == '%' && from[1] == 'p') {
			at += text_format(log_path + at, sizeof(log_path) - at, "%d",
					  (int)system_getpid());
			log_path_has_pid = true;
			from++;
		} else {
			log_path[at++] = *from;
		}
	}
	log_path[at] = '\0';
	return *from == '\0';
}

/* Opens the file named by log_path; a hidden descriptor, or -errno. */
static int log_file_open(void)
{
	int fd = system_open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY |
			     O_NONBLOCK, 0644);

	return descriptor_hide(fd);
}

static void log_use_file(void)
{
	bool fits = log_path_expand();
	int fd = fits ? log_file_open() : -ENAMETOOLONG;

	if (fd < 0) {
		log_path[0] = '\0';
		log_error("log_file %s: %s; logging to standard error",
			  setting_text(SETTING_log_file), log_errno_name(fd));
		return;
	}
	log_identity_known = system_fstat(fd, &log_identity) == 0;
	atomic_store_explicit(&log_descriptor, fd, memory_order_relaxed);
}

void log_start(void)
{
	const char *level = setting_text(SETTING_log);

	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(level, level_names[i]) == 0)
			log_threshold = (enum log_level)i;

	log_identity_known = system_fstat(STDERR_FILENO, &log_identity) == 0;
	if (setting_text(SETTING_log_file)[0] && log_threshold != LOG_OFF)
		log_use_file();
}

void log_open(void)
{
	/* One start-up for both, since each needs the other: see settings_open(). */
	settings_open();
}

void log_forked(void)
{
	int parents = atomic_load_explicit(&log_descriptor, memory_order_relaxed);

	if (!log_path_has_pid || log_path[0] == '\0')
		return;
	atomic_store_explicit(&log_descriptor, STDERR_FILENO, memory_order_relaxed);
	system_close(parents);
	log_use_file();
}

/* Our file's descriptor was closed, or is another file by now: open ours again. */
static int log_reopen(int lost)
{
	int fd = log_file_open();

	if (fd < 0)
		return fd;
	if (!atomic_compare_exchange_strong_explicit(&log_descriptor, &lost, fd,
						     memory_order_relaxed,
						     memory_order_relaxed)) {
		system_close(fd);
		return lost;	/* what another thread opened meanwhile */
	}
	/*
	 * The name may lead to a new file (rotated logs). log_identity is left alone:
	 * other threads read it, and a difference costs one more open per line only.
	 */
	return fd;
}

/* The descriptor for the next line, or -errno when there is none to be trusted. */
static int log_target(void)
{
	int fd = atomic_load_explicit(&log_descriptor, memory_order_relaxed);
	struct stat now;
	bool same;

	if (system_fstat(fd, &now) < 0)
		return log_path[0] ? log_reopen(fd) : -EBADF;
	same = log_identity_known && now.st_dev == log_identity.st_dev &&
	       now.st_ino == log_identity.st_ino;
	if (same)
		return fd;
	if (log_path[0])
		return log_reopen(fd);
	/*
	 * Standard error led elsewhere on purpose is fine, a connection of the
	 * application that happens to have number 2 is not.
	 */
	return S_ISSOCK(now.st_mode) ? -EBADF : fd;
}

/* A reader of standard error that went away must not kill the program by SIGPIPE. */
static void log_write_quietly(int fd, const char *line, size_t length)
{
	kernel_signal_set pipe_only = UINT64_C(1) << (SIGPIPE - 1);
	kernel_signal_set before;
	kernel_signal_set pending = 0;
	struct timespec at_once = { 0, 0 };
	long result;

	if (system_raw(SYS_rt_sigprocmask, SIG_BLOCK, &pipe_only, &before, sizeof(before)) < 0)
		return;
	system_raw(SYS_rt_sigpending, &pending, sizeof(pending));
	result = system_write(fd, line, length);
	if (result == -EPIPE && !(pending & pipe_only))
		system_raw(SYS_rt_sigtimedwait, &pipe_only, NULL, &at_once, sizeof(pipe_only));
	system_raw(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_SIZE];
	int saved = errno;
	va_list arguments;
	size_t length = 0;
	int fd;

	if (level <= LOG_OFF || level > LOG_DEBUG || level > log_threshold)
		return;
	fd = log_target();
	if (fd < 0)
		goto done;

	if (log_threshold >= LOG_DEBUG) {
		struct timespec now = { 0, 0 };

		clock_gettime(CLOCK_MONOTONIC, &now);
		length = text_format(line, sizeof(line), "%lld.%06ld wsdirect[%d/%d] %s: ",
				     (long long)now.tv_sec, now.tv_nsec / 1000,
				     (int)system_getpid(), (int)system_gettid(),
				     level_names[level]);
	} else {
		length = text_format(line, sizeof(line), "wsdirect[%d] %s: ", (int)system_getpid(),
				     level_names[level]);
	}
	va_start(arguments, format);
	/* One byte is kept for the end of the line. */
	length += text_format_list(line + length, sizeof(line) - 1 - length, format, arguments);
	va_end(arguments);
	line[length++] = '\n';
	log_write_quietly(fd, line, length);
done:
	errno = saved;
}

const char *log_errno_name(int error)
{
	/* Through unsigned, since INT_MIN has no opposite. */
	const char *name = strerrorname_np(error < 0 ? (int)(0 - (unsigned)error) : error);

	return name ? name : "unknown error";
}
