// SPDX-License-Identifier: BSD-2-Clause
/*
 * wsdirect doctor: looks at what the library will need on this host, as the
 * calling user, and says for each thing whether it is there and, if not, what
 * to do. It changes nothing and moves no data.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <rdma/rdma_cma.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <wsdirect.h>

#include "command.h"
#include "settings.h"

#define DEVICES_DIRECTORY	"/sys/class/infiniband"
#define CAP_IPC_LOCK_BIT	14
/* Under this the cache holds little more than the message buffers. */
#define MEMLOCK_COMFORTABLE	(64ul << 20)

static const char help[] =
	"usage: wsdirect doctor\n"
	"\n"
	"Checks what programs of this user need to talk over RDMA: devices, the connection\n"
	"manager, addresses, /dev/wsdirect, limits and our own libraries. A line each: ok, warn\n"
	"(works, but less well) or fail (connections go over TCP), with the remedy.\n"
	"\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit status: 0 without a fail, else 1.\n";

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

static bool failed;

static void say(enum verdict verdict, const char *subject, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(enum verdict verdict, const char *subject, const char *format, ...)
{
	static const char *const words[] = { "ok", "warn", "fail" };
	va_list arguments;

	printf("%-5s %-12s ", words[verdict], subject);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	if (verdict == VERDICT_FAIL)
		failed = true;
}

static void remedy(const char *text)
{
	printf("%-18s -> %s\n", "", text);
}

/* The first line of a small file; false if it cannot be read. */
static bool read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");
	bool there;

	if (!file)
		return false;
	there = fgets(line, size, file);
	fclose(file);
	if (there)
		line[strcspn(line, "\n")] = '\0';
	return there;
}

/* Calls visit for every entry of a directory but "." and ".."; returns their number. */
static int each_entry(const char *directory, void (*visit)(const char *name, void *context),
		      void *context)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, NULL, versionsort), seen = 0;

	if (count < 0)
		return 0;
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			visit(entries[i]->d_name, context);
			seen++;
		}
		free(entries[i]);
	}
	free(entries);
	return seen;
}

/* ---- devices and addresses --------------------------------------------- */

struct survey {
	const char *device;
	int active;		/* ports */
};

static void survey_port(const char *port, void *context)
{
	struct survey *survey = context;
	char path[PATH_MAX], state[64] = "?", link[64] = "?";

	snprintf(path, sizeof(path), DEVICES_DIRECTORY "/%s/ports/%s/state", survey->device, port);
	read_line(path, state, sizeof(state));
	snprintf(path, sizeof(path), DEVICES_DIRECTORY "/%s/ports/%s/link_layer", survey->device,
		 port);
	read_line(path, link, sizeof(link));
	if (!strstr(state, "ACTIVE")) {
		say(VERDICT_WARN, "port", "%s port %s is not active (state %s)", survey->device,
		    port, state);
		remedy("bring its network interface up, or check the cable and the subnet manager");
		return;
	}
	survey->active++;
	say(VERDICT_OK, "port", "%s port %s is active (%s)", survey->device, port, link);
}

/* A device is used through its character device, which has permissions of its own. */
static void survey_verbs(const char *name, void *context)
{
	const struct survey *survey = context;
	char path[PATH_MAX], device[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/infiniband_verbs/%s/ibdev", name);
	if (strncmp(name, "uverbs", 6) || !read_line(path, device, sizeof(device)) ||
	    strcmp(device, survey->device))
		return;
	snprintf(path, sizeof(path), "/dev/infiniband/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return;
	}
	say(VERDICT_FAIL, "device", "%s: %s", path, strerror(errno));
	remedy("install rdma-core's udev rules, or give this user access to the file");
}

static void survey_device(const char *name, void *context)
{
	struct survey *survey = context;
	char path[PATH_MAX];

	survey->device = name;
	each_entry("/sys/class/infiniband_verbs", survey_verbs, survey);
	snprintf(path, sizeof(path), DEVICES_DIRECTORY "/%s/ports", name);
	each_entry(path, survey_port, survey);
}

/* Whether any port is active. */
static bool check_devices(void)
{
	struct survey survey = { 0 };

	if (!each_entry(DEVICES_DIRECTORY, survey_device, &survey)) {
		say(VERDICT_FAIL, "device", "this host has no RDMA device");
		remedy("load the adapter's driver; or for software RDMA: modprobe rdma_rxe, "
		       "rdma link add rxe0 type rxe netdev INTERFACE");
		return false;
	}
	if (!survey.active)
		say(VERDICT_FAIL, "port", "no port of any RDMA device is active");
	return survey.active;
}

static bool check_connection_manager(void)
{
	static const char path[] = "/dev/infiniband/rdma_cm";
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		say(VERDICT_OK, "rdma_cm", "%s can be used", path);
		close(fd);
		return true;
	}
	say(VERDICT_FAIL, "rdma_cm", "%s: %s", path, strerror(errno));
	remedy(errno == EACCES ? "give this user access to the file" : "modprobe rdma_ucm");
	return false;
}

/* Of librdmacm, which may be missing. */
static struct manager {
	__typeof__(rdma_create_event_channel) *create_event_channel;
	__typeof__(rdma_destroy_event_channel) *destroy_event_channel;
	__typeof__(rdma_create_id) *create_id;
	__typeof__(rdma_destroy_id) *destroy_id;
	__typeof__(rdma_bind_addr) *bind_addr;
} manager;

static bool manager_find(void)
{
	void *library = dlopen("librdmacm.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return false;
#define MANAGER_FIND(name) \
	(manager.name = (__typeof__(manager.name))(uintptr_t)dlsym(library, "rdma_" #name))
	return MANAGER_FIND(create_event_channel) && MANAGER_FIND(destroy_event_channel) &&
	       MANAGER_FIND(create_id) && MANAGER_FIND(destroy_id) && MANAGER_FIND(bind_addr);
}

/* An address is put to the connection manager as the provider does it; whether it is RDMA's. */
static bool check_address(struct rdma_event_channel *channel, const struct ifaddrs *interface)
{
	struct sockaddr_storage copy = { 0 };
	char text[INET6_ADDRSTRLEN];
	struct rdma_cm_id *id;
	bool found;

	if (!interface->ifa_addr || !(interface->ifa_flags & IFF_UP) ||
	    interface->ifa_flags & IFF_LOOPBACK)
		return false;
	if (interface->ifa_addr->sa_family == AF_INET) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)&copy;

		memcpy(v4, interface->ifa_addr, sizeof(*v4));
		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
	} else if (interface->ifa_addr->sa_family == AF_INET6) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&copy;

		memcpy(v6, interface->ifa_addr, sizeof(*v6));
		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
			return false;
	} else {
		return false;
	}
	if (manager.create_id(channel, &id, NULL, RDMA_PS_TCP))
		return false;
	found = !manager.bind_addr(id, (struct sockaddr *)&copy) && id->verbs;
	if (found)
		say(VERDICT_OK, "address", "%s on %s, by %s", text, interface->ifa_name,
		    id->verbs->device->name);
	manager.destroy_id(id);
	return found;
}

static void check_addresses(void)
{
	struct rdma_event_channel *channel = manager_find() ? manager.create_event_channel() : NULL;
	struct ifaddrs *list = NULL;
	int found = 0;

	if (!channel || getifaddrs(&list)) {
		say(VERDICT_WARN, "address", "it cannot be told which addresses have RDMA: %s",
		    strerror(errno));
		remedy("install librdmacm; with it, 'rping -s' must start");
	} else {
		for (const struct ifaddrs *one = list; one; one = one->ifa_next)
			found += check_address(channel, one);
		if (!found) {
			say(VERDICT_FAIL, "address", "no active port has an IP address");
			remedy("give its network interface one: connections are made by IP address");
		}
	}
	freeifaddrs(list);
	if (channel)
		manager.destroy_event_channel(channel);
}

/* ---- our own parts ----------------------------------------------------- */

static void check_module(void)
{
	struct wsdirect_hello hello = { .abi_version = WSDIRECT_ABI_VERSION };
	int fd = open(WSDIRECT_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		say(VERDICT_WARN, "module", "%s: %s; application buffers are registered anew for "
		    "each transfer", WSDIRECT_DEVICE, strerror(errno));
		remedy(errno == EACCES ? "install 70-wsdirect.rules, or chmod 0666 " WSDIRECT_DEVICE :
		       "modprobe wsdirect");
		return;
	}
	if (!ioctl(fd, WSDIRECT_IOC_HELLO, &hello)) {
		say(VERDICT_OK, "module", "version %u, up to %u ranges and %llu MiB a process",
		    hello.abi_version, hello.max_ranges,
		    (unsigned long long)hello.max_bytes >> 20);
	} else if (errno == EPROTONOSUPPORT) {
		say(VERDICT_WARN, "module", "the module speaks version %u, this program %u",
		    hello.abi_version, WSDIRECT_ABI_VERSION);
		remedy("install module and libraries of the same version");
	} else {
		say(VERDICT_WARN, "module", "%s: %s", WSDIRECT_DEVICE, strerror(errno));
		remedy("this is not wsdirect's module; see 'modinfo wsdirect'");
	}
	close(fd);
}

static bool may_lock_any_amount(void)
{
	char line[256];
	unsigned long long effective = 0;
	FILE *status = fopen("/proc/self/status", "re");

	if (!status)
		return false;
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	fclose(status);
	return effective >> CAP_IPC_LOCK_BIT & 1;
}

static void check_memory_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit)) {
		say(VERDICT_WARN, "memlock", "%s", strerror(errno));
	} else if (limit.rlim_cur == RLIM_INFINITY || may_lock_any_amount()) {
		say(VERDICT_OK, "memlock", "no limit on locked memory");
	} else if (limit.rlim_cur >= MEMLOCK_COMFORTABLE) {
		say(VERDICT_OK, "memlock", "up to %llu MiB may be locked",
		    (unsigned long long)limit.rlim_cur >> 20);
	} else {
		say(VERDICT_WARN, "memlock", "only %llu KiB may be locked: few connections, little "
		    "cached", (unsigned long long)limit.rlim_cur >> 10);
		remedy("raise it: 'ulimit -l', limits.conf(5) or LimitMEMLOCK= of the service");
	}
}

static void check_libraries(void)
{
	char path[PATH_MAX];
	int error = library_find_preload(path);
	void *provider;

	if (error) {
		say(VERDICT_FAIL, "library", "%s: %s", path, strerror(-error));
		remedy("install wsdirect, or build it");
	} else {
		say(VERDICT_OK, "library", "%s", path);
	}
	error = library_find_provider(path);
	if (error) {
		say(VERDICT_FAIL, "provider", "%s: %s", path, strerror(-error));
		remedy("check the setting 'provider'; empty takes ours");
		return;
	}
	provider = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!provider) {
		say(VERDICT_FAIL, "provider", "%s", dlerror());
		remedy("install libibverbs and librdmacm, or check the setting 'provider'");
	} else if (!dlsym(provider, "WSPStartupEx")) {
		say(VERDICT_FAIL, "provider", "%s has no WSPStartupEx", path);
		remedy("check the setting 'provider': this is not a SAN service provider");
	} else {
		say(VERDICT_OK, "provider", "%s", path);
	}
}

static void check_statistics(void)
{
	const char *directory = setting_text(SETTING_statistics);

	if (!directory[0]) {
		say(VERDICT_OK, "statistics", "not kept in files, as the setting asks");
	} else if (access(directory, W_OK | X_OK)) {
		say(VERDICT_WARN, "statistics", "%s: %s; 'wsdirect stat' will show nothing",
		    directory, strerror(errno));
		remedy("check the setting 'statistics'");
	} else {
		say(VERDICT_OK, "statistics", "in %s", directory);
	}
}

int command_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool active;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option != 'h')
			return command_usage_error("doctor");
		fputs(help, stdout);
		return EXIT_SUCCESS;
	}
	if (optind != argc) {
		command_error("doctor", "unexpected argument '%s'", argv[optind]);
		return command_usage_error("doctor");
	}
	settings_open();
	check_libraries();
	active = check_devices();
	if (check_connection_manager() && active)
		check_addresses();
	check_module();
	check_memory_limit();
	check_statistics();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
