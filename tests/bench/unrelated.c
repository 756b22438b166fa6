// SPDX-License-Identifier: BSD-2-Clause
/*
 * The two processes take turns, a short round each, so that what else the machine does
 * falls on both alike. The other one has the same buffers mapped.
 */
#include "unrelated.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buffers.h"
#include "figures.h"
#include "processors.h"

#define ROUND	32	/* of one thread */
#define ROUNDS	320

static int channel;
static pid_t other;
static pthread_barrier_t start_line;

/* Between two pages without rights, so that it is a mapping of its own. */
static double time_munmap(void)
{
	size_t size = buffer_size();
	char *area = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double start, end;

	if (area == MAP_FAILED || mprotect(area + size, size, PROT_READ | PROT_WRITE) < 0)
		must(-errno, "unrelated memory");
	memset(area + size, 1, size);
	start = now();
	munmap(area + size, size);
	end = now();
	munmap(area, size);
	munmap(area + 2 * size, size);
	return end - start;
}

struct worker {
	pthread_t thread;
	unsigned number;
	double *times;
};

static void *round_run(void *argument)
{
	struct worker *worker = argument;
	cpu_set_t all;

	sched_getaffinity(0, sizeof(all), &all);
	processors_stay(&all, worker->number);
	pthread_barrier_wait(&start_line);
	for (unsigned i = 0; i < ROUND; i++)
		worker->times[i] = time_munmap();
	sched_setaffinity(0, sizeof(all), &all);
	return NULL;
}

/* One round of this process; @times has room for those of all threads. */
static void round_measure(unsigned threads, double *times)
{
	struct worker workers[MOST_THREADS];

	pthread_barrier_init(&start_line, NULL, threads);
	for (unsigned i = 0; i < threads; i++)
		workers[i] = (struct worker){ .number = i, .times = times + i * ROUND };
	for (unsigned i = 1; i < threads; i++)
		must(-pthread_create(&workers[i].thread, NULL, round_run, &workers[i]), "thread");
	round_run(&workers[0]);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_destroy(&start_line);
}

static void transfer(ssize_t got, size_t wanted)
{
	if (got != (ssize_t)wanted)
		must(got < 0 ? -errno : -EPIPE, "the other process");
}

static _Noreturn void serve(void)
{
	double times[MOST_THREADS * ROUND];
	unsigned threads;

	while (read(channel, &threads, sizeof(threads)) == sizeof(threads)) {
		round_measure(threads, times);
		transfer(write(channel, times, threads * ROUND * sizeof(times[0])),
			 threads * ROUND * sizeof(times[0]));
	}
	_exit(EXIT_SUCCESS);
}

void unrelated_start(void)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		must(-errno, "socketpair");
	other = fork();
	if (other < 0)
		must(-errno, "fork");
	channel = ends[other == 0];
	close(ends[other != 0]);
	if (other > 0) {
		/* Pages that are still shared would be copied while something is timed. */
		for (unsigned n = 0; n < BUFFERS; n++)
			memset(buffer_at(n), 2, buffer_size());
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	serve();
}

double unrelated_measure(unsigned threads, double *elsewhere)
{
	static double here[ROUNDS * MOST_THREADS * ROUND];
	static double there[ROUNDS * MOST_THREADS * ROUND];
	unsigned each = threads * ROUND;
	/* Threads wait for each other, and longest where processors are scarce. */
	unsigned rounds = ROUNDS / (threads * threads);

	for (unsigned i = 0; i < rounds; i++) {
		round_measure(threads, here + i * each);
		transfer(write(channel, &threads, sizeof(threads)), sizeof(threads));
		transfer(read(channel, there + i * each, each * sizeof(there[0])),
			 each * sizeof(there[0]));
	}
	/* What is compared are the undisturbed ones; the median would follow the machine's load. */
	*elsewhere = quantile(there, rounds * each, 0.25);
	return quantile(here, rounds * each, 0.25);
}

void unrelated_stop(void)
{
	close(channel);
	waitpid(other, NULL, 0);
}
