/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of this process, in a page that `wsdirect stat` can read while the
 * program runs. The page is a small file wsdirect-PID.stat in the directory
 * setting `statistics`; the preload library and each provider map the same
 * file. Counters are spread over shards by thread, so that counting never
 * makes two threads share a cache line; a reader adds the shards up.
 * Counting never fails: without a file (an empty setting asks for none) the
 * page is private memory.
 *
 * A child of fork has a file from its first addition on. The file goes when the
 * program ends, unless it ends by a signal, _exit() or exec(): tools should
 * remove pages of processes that are gone.
 */
#ifndef WSD_BASE_STATISTICS_H
#define WSD_BASE_STATISTICS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* COUNTER(name, help) */
#define STATISTICS_LIST(COUNTER) \
	COUNTER(san_connects, "connections made over a SAN") \
	COUNTER(san_accepts, "connections accepted over a SAN") \
	COUNTER(tcp_connects, "connects that went over TCP") \
	COUNTER(tcp_accepts, "accepts that came over TCP") \
	COUNTER(san_fallbacks, "connects that tried a SAN and went over TCP") \
	COUNTER(bytes_sent_message, "bytes sent in messages (copied)") \
	COUNTER(bytes_sent_rdma, "bytes sent by RDMA") \
	COUNTER(bytes_sent_staged, "bytes of bytes_sent_rdma that were copied into a staging buffer first") \
	COUNTER(bytes_received_message, "bytes received in messages (copied)") \
	COUNTER(bytes_received_rdma, "bytes received by RDMA") \
	COUNTER(bytes_received_spilled, "bytes received that were copied into the receive buffer first") \
	COUNTER(messages_sent, "session messages sent") \
	COUNTER(messages_received, "session messages received") \
	COUNTER(messages_ahead, "of them taken ahead of their completions") \
	COUNTER(resets, "SAN connections that ended by reset") \
	COUNTER(protocol_errors, "messages of a peer that broke the protocol") \
	COUNTER(registrations, "memory registrations made with a device") \
	COUNTER(deregistrations, "memory registrations given back to a device") \
	COUNTER(cache_hits, "registrations answered by the cache") \
	COUNTER(cache_misses, "registrations the cache could not answer") \
	COUNTER(cache_stale, "look-ups that met a registration gone stale") \
	COUNTER(cache_retries, "registrations repeated since the mapping changed meanwhile") \
	COUNTER(cache_evictions, "registrations dropped for lack of room") \
	COUNTER(ranges_secured, "ranges secured with /dev/wsdirect") \
	COUNTER(ranges_unsecured, "ranges released to /dev/wsdirect unfired") \
	COUNTER(events_read, "events read from /dev/wsdirect") \
	COUNTER(callbacks, "calls of WSPMemoryRegistrationCacheCallback") \
	COUNTER(windows_made, "memory windows made with a device") \
	COUNTER(windows_bound, "memory windows bound") \
	COUNTER(windows_invalidated, "memory windows invalidated")

enum statistic {
#define STATISTIC_ENUM(name, help) STATISTIC_##name,
	STATISTICS_LIST(STATISTIC_ENUM)
#undef STATISTIC_ENUM
	STATISTIC_COUNT
};

/* Maps the page; idempotent; called from each library's constructor or at its start. */
void statistics_open(void);

/* After fork in the child: it counts anew, in a page of its own. Async-signal-safe. */
void statistics_forked(void);

/*
 * The process ends: its page goes, unless it is to be kept. The destructor of each library, and
 * for _exit(). Async-signal-safe, and nothing in a child of vfork().
 */
void statistics_close(void) __attribute__((destructor));

/* For statistic_add() alone: this thread's own counters, NULL while it has none, and the way then. */
extern __thread uint64_t *statistics_own __attribute__((tls_model("initial-exec")));
void statistic_add_shared(enum statistic which, uint64_t amount);

/* Adds to this thread's own counters; false: it has none yet, or there are none for it. */
static inline bool statistic_add_own(enum statistic which, uint64_t amount)
{
	uint64_t *own = statistics_own;

	if (__builtin_expect(!own, 0))
		return false;
#if defined(__x86_64__)
	/*
	 * In one instruction, so that a signal handler loses no addition, but without a lock on
	 * the memory: nobody else writes there. This is what a hit of the cache pays.
	 */
	__asm__("addq %1, %0" : "+m"(own[which]) : "er"(amount) : "cc");
#else
	__atomic_fetch_add(&own[which], amount, __ATOMIC_RELAXED);
#endif
	return true;
}

/* Adds to this thread's shard. Any thread, any context, no lock. */
static inline void statistic_add(enum statistic which, uint64_t amount)
{
	if (!statistic_add_own(which, amount))
		statistic_add_shared(which, amount);
}

/* Sum over the shards of this process. */
uint64_t statistic_read(enum statistic which);

/* The names and helps of STATISTICS_LIST. */
const char *statistic_name(enum statistic which);
const char *statistic_help(enum statistic which);

/* What a tool sees of one process. */
struct statistics_snapshot {
	pid_t pid;
	uint64_t start_time;	/* when the page was made, nanoseconds of CLOCK_REALTIME */
	char program[64];
	uint64_t values[STATISTIC_COUNT];
};

/*
 * Reads the page at @path, whoever wrote it. 0; -errno of opening or reading it;
 * -EINVAL: not a statistics page; -EPROTONOSUPPORT: a page with other counters.
 */
int statistics_load(const char *path, struct statistics_snapshot *snapshot);

/* The page's path for @pid under the setting `statistics`; -ENAMETOOLONG, else 0. */
int statistics_path(pid_t pid, char *path, size_t size);

#endif
