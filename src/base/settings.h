/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every setting, once: name, kind, range, default and help. The enum, the
 * parser, `wsdirect settings` and the manual page come from this list.
 * A setting NAME is read from the environment variable WSDIRECT_NAME (upper
 * case), else from the file named by WSDIRECT_CONFIG (default
 * /etc/wsdirect.conf, "name = value" lines, # comments). A bad value or an
 * unknown WSDIRECT_* variable is one error line naming it, and the default
 * stays in force. The variables of the scripts under tools/ are let pass.
 */
#ifndef WSD_BASE_SETTINGS_H
#define WSD_BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What bash connects by /dev/tcp is for its children. The others are servers known to leave
 * each connection to a child, which would lose their first one (switch/handover.h).
 */
#define RULES_DEFAULT \
	"program bash connect tcp; program sshd listen tcp; program rsync listen tcp; " \
	"program vsftpd listen tcp; program proftpd listen tcp; program pure-ftpd listen tcp; " \
	"program postgres listen tcp; program smbd listen tcp; program nbd-server listen tcp; " \
	"program git-daemon listen tcp; program inetd listen tcp; program xinetd listen tcp"

/* NUMBER(name, default, least, most, help): sizes take the suffixes k, m, g. */
/* TEXT(name, default, help) */
#define SETTINGS_LIST(NUMBER, TEXT) \
	TEXT(config, "/etc/wsdirect.conf", "file of settings, name = value") \
	TEXT(log, "warn", "lowest level logged: off, error, warn, info, debug") \
	TEXT(log_file, "", "append the log here instead of standard error; %p is the pid") \
	TEXT(rules, RULES_DEFAULT, "rules of choice, separated by ';': [program NAME] [connect|listen] [ADDRESS[/BITS]][:PORT] tcp|san|auto; first match wins") \
	TEXT(provider, "", "path of the SAN service provider; empty: libwsdirect-verbs.so beside the preload library") \
	TEXT(statistics, "/dev/shm", "directory of the statistics page wsdirect-PID.stat") \
	NUMBER(statistics_keep, 0, 0, 1, "leave the statistics page behind when the program ends") \
	NUMBER(connect_timeout, 1000, 10, 60000, "longest wait for a SAN connection before TCP is tried, in milliseconds") \
	NUMBER(tcp_memory, 60000, 0, 3600000, "how long a destination that does not speak the SAN is remembered, in milliseconds") \
	NUMBER(rdma_threshold, 131072, 1, 1073741824, "sends of at least this many bytes use RDMA") \
	NUMBER(send_patience, 500, 20, 3600000, "how long a large blocking send waits for a peer that takes nothing, before it is copied and returns, in milliseconds") \
	NUMBER(exit_patience, 10000, 0, 3600000, "how long a program that ends waits for peers that take nothing of what it sent, in milliseconds") \
	TEXT(rdma_direction, "auto", "who moves large data: read (receiver pulls), write (sender pushes), auto") \
	NUMBER(poll_time, 50, 0, 1000000, "how long a blocking call polls the completion queue before it sleeps, in microseconds; up to 20 times as long where sleeps turn out short, or 100 times while large data is on its way") \
	NUMBER(message_size, 1024, 256, 65536, "bytes of the stream that one message buffer of an idle connection holds") \
	NUMBER(message_count, 8, 4, 256, "message buffers posted for receiving on an idle connection") \
	TEXT(memory_monitor, "auto", "what watches registered memory: auto (the kernel module or none), module, none, userfaultfd") \
	NUMBER(cache_regions, 4096, 0, 1048576, "registrations kept in the cache; 0 turns it off") \
	NUMBER(cache_bytes, 0, 0, 1099511627776, "bytes kept registered by the cache; 0: half of the memory-lock limit, or a quarter of memory")

enum setting_number {
#define SETTING_ENUM_NUMBER(name, initial, least, most, help) SETTING_##name,
#define SETTING_ENUM_TEXT(name, initial, help)
	SETTINGS_LIST(SETTING_ENUM_NUMBER, SETTING_ENUM_TEXT)
	SETTING_NUMBERS
};
enum setting_text {
#undef SETTING_ENUM_NUMBER
#undef SETTING_ENUM_TEXT
#define SETTING_ENUM_NUMBER(name, initial, least, most, help)
#define SETTING_ENUM_TEXT(name, initial, help) SETTING_##name,
	SETTINGS_LIST(SETTING_ENUM_NUMBER, SETTING_ENUM_TEXT)
	SETTING_TEXTS
#undef SETTING_ENUM_NUMBER
#undef SETTING_ENUM_TEXT
};

/* Parses environment and file; idempotent, called from each library's constructor. */
void settings_open(void);

/* Instead of settings_open(), where the program started next reports bad values: no log. */
void settings_open_silently(void);

/* Whether the file of settings could not be read, though it is there or was asked for. */
bool settings_file_failed(void);

/* Valid after settings_open(); written by it alone, never change afterwards, so need no lock. */
extern uint64_t setting_numbers[SETTING_NUMBERS];

static inline uint64_t setting_number(enum setting_number which)
{
	return setting_numbers[which];
}

const char *setting_text(enum setting_text which);

#endif
