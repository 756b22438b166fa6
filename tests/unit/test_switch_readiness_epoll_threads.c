// SPDX-License-Identifier: BSD-2-Clause
/* Threads that wait on one set, while sockets come and speak and others of them go. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "epoll_fixture.h"
#include "readiness.h"

struct sleeper {
	pthread_t thread;
	int result;
	struct epoll_event event;
	atomic_bool done;
};

static void *sleep_in_set(void *argument)
{
	struct sleeper *sleeper = argument;

	sleeper->result = wait_for(&sleeper->event, 1, -1);
	sleeper->done = true;
	return NULL;
}

START_TEST(a_socket_arrives_while_threads_sleep)
{
	struct side side;
	struct sleeper sleepers[2] = { 0 };
	int i, fd = socket(AF_INET, SOCK_STREAM, 0);

	/* In a set that knew no SAN, or only of it. */
	if (_i & 1) {
		side = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 41), 0);
	}
	for (i = 0; i < 2; i++)
		pthread_create(&sleepers[i].thread, NULL, sleep_in_set, &sleepers[i]);
	usleep(30000);
	if (_i & 2) {
		side = side_open(SAN);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
		usleep(20000);
		side_data(&side);
	} else {
		ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, fd, 0, 42), 0);
		/* Both report the hang-up of the unconnected socket; the SAN ends that. */
		for (i = 0; i < 2; i++) {
			pthread_join(sleepers[i].thread, NULL);
			ck_assert_uint_eq(sleepers[i].event.events, EPOLLHUP);
			sleepers[i].done = false;
		}
		side = (struct side){ .fd = fd, .peer = -1, .san = fake_enter(fd) };
		ck_assert_int_eq(control(EPOLL_CTL_MOD, fd, EPOLLIN, 42), 0);
		for (i = 0; i < 2; i++)
			pthread_create(&sleepers[i].thread, NULL, sleep_in_set, &sleepers[i]);
		usleep(30000);
		ck_assert(!sleepers[0].done && !sleepers[1].done);
		side_data(&side);
	}
	/* Level-triggered and not read: each of them learns of it. */
	for (i = 0; i < 2; i++) {
		pthread_join(sleepers[i].thread, NULL);
		ck_assert_int_eq(sleepers[i].result, 1);
		ck_assert_uint_eq(sleepers[i].event.data.u64, 42);
		ck_assert_uint_eq(sleepers[i].event.events, EPOLLIN);
	}
	if (!(_i & 2))
		return;
	close_fd(side.fd);
	close(fd);
}
END_TEST

START_TEST(a_cancelled_sleeper_leaves_nothing)
{
	struct side side = side_open(SAN);
	struct sleeper sleeper = { 0 };
	void *result;

	if (_i)
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	pthread_create(&sleeper.thread, NULL, sleep_in_set, &sleeper);
	usleep(30000);
	pthread_cancel(sleeper.thread);
	pthread_join(sleeper.thread, &result);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	if (!_i)
		ck_assert_int_eq(control(EPOLL_CTL_ADD, side.fd, EPOLLIN, 42), 0);
	side_data(&side);
	ck_assert_uint_eq(one(-1), EPOLLIN);
}
END_TEST

/*
 * Producers make sockets readable, consumers in epoll_wait empty them; a lost
 * wake-up leaves a token behind and the test hangs. Tokens come through the
 * queue or at once, on level, edge and one-shot registrations.
 */
#define STRESS_SOCKETS	16
#define STRESS_TOKENS	20000

static struct {
	struct side side;
	uint32_t flags;
	pthread_mutex_t lock;
	int tokens;
} stress[STRESS_SOCKETS];
static atomic_int stress_made, stress_taken;

static void *stress_produce(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;

	while (atomic_fetch_add(&stress_made, 1) < STRESS_TOKENS) {
		int i = rand_r(&seed) % STRESS_SOCKETS;

		pthread_mutex_lock(&stress[i].lock);
		stress[i].tokens++;
		if (rand_r(&seed) & 1)
			fake_arrive(stress[i].side.san, POLLIN);
		else
			fake_set(stress[i].side.san, POLLIN);
		pthread_mutex_unlock(&stress[i].lock);
		if (rand_r(&seed) % 16 == 0)
			usleep(rand_r(&seed) % 200);
	}
	return NULL;
}

static void *stress_consume(void *argument)
{
	struct epoll_event events[4];
	int room = 1 + (int)(uintptr_t)argument % 4;

	while (atomic_load(&stress_taken) < STRESS_TOKENS) {
		int count = wait_for(events, room, 20 * MS), i;

		for (i = 0; i < count; i++) {
			int which = (int)events[i].data.u64;

			pthread_mutex_lock(&stress[which].lock);
			socket_poll(stress[which].side.san);
			atomic_fetch_add(&stress_taken, stress[which].tokens);
			stress[which].tokens = 0;
			fake_set(stress[which].side.san, 0);
			pthread_mutex_unlock(&stress[which].lock);
			if (stress[which].flags & EPOLLONESHOT)
				ck_assert_int_eq(control(EPOLL_CTL_MOD, stress[which].side.fd,
							 EPOLLIN | stress[which].flags,
							 (uint64_t)which), 0);
		}
	}
	return NULL;
}

START_TEST(no_token_is_lost)
{
	static const uint32_t flags[] = { 0, EPOLLET, EPOLLONESHOT, EPOLLONESHOT | EPOLLET };
	pthread_t threads[6];
	int i, consumers = _i ? 3 : 1;

	for (i = 0; i < STRESS_SOCKETS; i++) {
		stress[i].side = side_open(SAN);
		fake_set(stress[i].side.san, 0);
		stress[i].flags = flags[i % 4];
		pthread_mutex_init(&stress[i].lock, NULL);
		ck_assert_int_eq(control(EPOLL_CTL_ADD, stress[i].side.fd,
					 EPOLLIN | stress[i].flags, (uint64_t)i), 0);
	}
	for (i = 0; i < consumers + 3; i++)
		pthread_create(&threads[i], NULL, i < consumers ? stress_consume : stress_produce,
			       (void *)(uintptr_t)(i + 1));
	for (i = 0; i < consumers + 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_ge(stress_taken, STRESS_TOKENS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("epoll threads");
	TCase *cases = tcase_create("threads");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_set_timeout(cases, 60);
	tcase_add_loop_test(cases, a_socket_arrives_while_threads_sleep, 0, 4);
	tcase_add_loop_test(cases, a_cancelled_sleeper_leaves_nothing, 0, 2);
	tcase_add_loop_test(cases, no_token_is_lost, 0, 2);
	suite_add_tcase(suite, cases);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
