// SPDX-License-Identifier: BSD-2-Clause
/*
 * Waiting on an epoll set: who is looked at, who is armed, what is reported.
 * epoll_set.h has the theory.
 */
#include <errno.h>
#include <string.h>

#include "descriptors.h"
#include "epoll_set.h"
#include "libc_calls.h"
#include "readiness.h"
#include "spinner.h"
#include "waiter.h"

/* Always reported, asked for or not. */
#define ALWAYS		(EPOLLERR | EPOLLHUP)
/* What an incoming change may be meant for; EPOLLOUT goes with the other edge. */
#define INCOMING	(EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLPRI | EPOLLRDHUP)
#define OUTGOING	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)

/*
 * Looks in vain after which a member is armed though nobody is about to sleep. Being armed and
 * waking up costs some five system calls, a look none.
 */
#define MISSES_MOST	16
/* Waits in a row that may report sockets without asking the kernel about the others. */
#define UNLOOKED_MOST	3
/* Questions to the kernel in one wait, as long as it answers only with our own reports. */
#define LOOKS_MOST	8
/* How often spinning asks the kernel. */
#define SPIN_KERNEL	8

/* ---- one member; the set's lock is held ---- */

static uint32_t member_bits(struct member *member)
{
	struct watch *watch = member->watch;
	uint32_t wanted = watch->events | ALWAYS, bits = socket_poll(member->socket);

	if (member->wait == SOCKET_WAIT_BOTH) {
		struct pollfd own = { .fd = watch->fd, .events = (short)(wanted & 0x7fff) };

		if (poll_now(&own, 1) > 0)
			bits |= (uint16_t)own.revents & ~(uint32_t)POLLNVAL;
	}
	return bits & wanted;
}

uint32_t member_look(struct member *member, bool report)
{
	struct watch *watch = member->watch;
	uint32_t in, out, in_before, out_before, bits;
	unsigned int tries = 0;

	if (member->disabled || member->wait == SOCKET_WAIT_KERNEL)
		return 0;
	if (!(watch->events & EPOLLET)) {
		bits = member_bits(member);
	} else {
		/*
		 * Looking moves the session and so may itself make an edge. The count
		 * taken must not be newer than the bits, or an edge would be lost; if it
		 * is older, the edge is reported twice.
		 */
		socket_edges(member->socket, &in, &out);
		do {
			in_before = in;
			out_before = out;
			bits = member_bits(member);
			socket_edges(member->socket, &in, &out);
		} while ((in != in_before || out != out_before) && ++tries < 3);

		if (!member->fresh &&
		    !(in_before != member->seen_in && (watch->events & INCOMING || bits & ALWAYS)) &&
		    !(out_before != member->seen_out && watch->events & OUTGOING))
			bits = 0;
		if (bits && report) {
			member->seen_in = in_before;
			member->seen_out = out_before;
			member->fresh = false;
		}
	}
	if (bits && report && watch->events & EPOLLONESHOT)
		member->disabled = true;
	return bits;
}

bool member_arm(struct member *member)
{
	struct epoll *epoll = member->watch->epoll;
	int descriptor = -1;

	if (member->disabled) {
		member_unqueue(member);
		return false;
	}
	epoll_take_woken(epoll);
	/* Just being woken: it will be on the list. Not to be armed before it was taken off. */
	if (!waiter_link_arm(&member->link)) {
		member_queue(member);
		return true;
	}
	member->wait = socket_arm(member->socket, &descriptor);
	switch (member->wait) {
	case SOCKET_WAIT_KERNEL:
		member_register(member, REGISTERED_OWN, -1);
		break;
	case SOCKET_WAIT_BOTH:
		member_register(member, REGISTERED_MARKED, -1);
		break;
	case SOCKET_WAIT_COMPANION:
		member_register(member, REGISTERED_COMPANION, descriptor);
		break;
	case SOCKET_WAIT_WAKE:
		member_register(member, REGISTERED_NOT, -1);
		break;
	}
	if (member_look(member, false)) {
		waiter_link_disarm(&member->link);
		member_queue(member);
		return true;
	}
	member_unqueue(member);
	return false;
}

/* ---- the queue; the set's lock is held ---- */

/*
 * Reports up to `room` queued members that are ready, each once in the wait with
 * that number. Unless the caller is patient, one that is not ready twice is armed.
 */
static int queue_report(struct epoll *epoll, struct epoll_event *events, int room,
			unsigned int number, bool patient)
{
	struct member *last = TAILQ_LAST(&epoll->queue, member_queue_head), *member;
	int count = 0;
	bool end = false;

	while (count < room && !end && (member = TAILQ_FIRST(&epoll->queue))) {
		uint32_t bits;

		/* They go to the tail, so all others were passed. */
		if (member->reported == number)
			break;
		end = member == last;
		/* What the socket should be waited for by may have changed meanwhile. */
		if (member->wait == SOCKET_WAIT_KERNEL || member->registration == REGISTERED_OWN) {
			if (!member_arm(member))
				continue;
		}
		bits = member_look(member, true);
		if (bits) {
			events[count].events = bits;
			events[count].data = member->watch->data;
			member->reported = number;
			count++;
		} else if (!patient && ++member->misses >= MISSES_MOST) {
			if (!member_arm(member))
				continue;
		}
		TAILQ_REMOVE(&epoll->queue, member, entry);
		member->queued = false;
		if (bits)
			member_queue(member);
		else if (!member->disabled) {
			TAILQ_INSERT_TAIL(&epoll->queue, member, entry);
			member->queued = true;
		}
	}
	return count;
}

/* Arms whoever is queued; true if one of them is ready. */
static bool queue_arm(struct epoll *epoll)
{
	struct member *member, *next;
	bool ready = false;

	for (member = TAILQ_FIRST(&epoll->queue); member; member = next) {
		next = TAILQ_NEXT(member, entry);
		ready |= member_arm(member);
	}
	return ready;
}

/*
 * Takes our own reports out of what the kernel returned: queues the members they
 * stand for and returns how many of the application's are left.
 */
static int translate(struct epoll *epoll, struct epoll_event *events, int count)
{
	uint64_t mark = epoll_mark();
	int i, kept = 0;

	for (i = 0; i < count; i++)
		if ((events[i].data.u64 & ~MEMBER_INDEX_MASK) == mark)
			break;
	if (i == count)
		return count;
	epoll_enter(epoll);
	for (i = 0; i < count; i++) {
		uint64_t index = events[i].data.u64 & MEMBER_INDEX_MASK;
		struct member *member;

		if ((events[i].data.u64 & ~MEMBER_INDEX_MASK) != mark) {
			events[kept++] = events[i];
			continue;
		}
		if (!index) {
			if (epoll->waiter.wake >= 0)
				waiter_clear(&epoll->waiter);
			continue;
		}
		/* The index may have another owner by now, who is looked at in vain. */
		member = index < epoll->members_size ? epoll->members[index] : NULL;
		if (!member)
			continue;
		if (member->disabled) {
			/* Silent until epoll_ctl enables it again, which queues it. */
			member_register(member, REGISTERED_NOT, -1);
			continue;
		}
		if (member->registration == REGISTERED_MARKED) {
			member->fresh = true;	/* an edge of the kernel's */
			/* The kernel has disabled it, we perhaps not. */
			if (member->watch->events & EPOLLONESHOT)
				member->registration = REGISTERED_UNDECIDED;
		}
		waiter_link_disarm(&member->link);
		member_queue(member);
	}
	epoll_take_woken(epoll);
	epoll_leave(epoll);
	return kept;
}

/* ---- before a wait ---- */

/*
 * Gives listeners their companions. It enters sockets into the table and so
 * comes back to this set: no lock is held.
 */
static void attach_listeners(struct epoll *epoll)
{
	int fds[64], count = 0;
	struct watch *watch;

	if (!atomic_load(&epoll->listeners))
		return;
	epoll_enter(epoll);
	atomic_store(&epoll->listeners, false);
	LIST_FOREACH(watch, &epoll->watches, entry) {
		if (watch->member || !descriptor_is_listening(watch->fd))
			continue;
		if (count == (int)(sizeof(fds) / sizeof(fds[0]))) {
			atomic_store(&epoll->listeners, true);	/* the rest: next time */
			break;
		}
		fds[count++] = watch->fd;
	}
	epoll_leave(epoll);
	while (count) {
		int fd = fds[--count];
		struct socket *socket = switch_listener_get(fd);

		if (!socket)
			continue;
		epoll_socket_entered(fd, socket);
		socket_put(socket);
	}
}

/* Sets within this one must be complete before the kernel is asked about them. */
static void settle_inner(struct epoll *epoll)
{
	int fds[16], count = 0, i;
	struct watch *watch;

	if (!atomic_load(&epoll->inner))
		return;
	epoll_enter(epoll);
	LIST_FOREACH(watch, &epoll->watches, entry)
		if (watch->inner && count < (int)(sizeof(fds) / sizeof(fds[0])))
			fds[count++] = watch->fd;
	epoll_leave(epoll);
	for (i = 0; i < count; i++) {
		struct epoll *inner = descriptor_epoll_get(fds[i]);

		if (!inner)
			continue;
		epoll_settle(inner);
		epoll_put(inner);
	}
}

void epoll_settle(struct epoll *epoll)
{
	atomic_store(&epoll->outside, true);
	if (!epoll_has_sockets(epoll))
		return;
	attach_listeners(epoll);
	settle_inner(epoll);
	epoll_enter(epoll);
	if (!epoll->closed) {
		epoll_take_woken(epoll);
		epoll_changed(epoll);
	}
	epoll_leave(epoll);
}

/* ---- waiting ---- */

/* The thread was cancelled in the kernel: gives back what switch_epoll_wait() took. */
static void wait_cancelled(void *argument)
{
	struct epoll *epoll = argument;

	atomic_fetch_sub(&epoll->waiter.inside, 1);
	epoll_put(epoll);
}

/* The real call; timeout in nanoseconds, -1: none. */
static int kernel_wait(int epoll_fd, struct epoll_event *events, int room, int64_t timeout,
		       const sigset_t *mask)
{
	static atomic_bool coarse;
	int result, milliseconds = -1;

	if (timeout > 0 && timeout % 1000000 && !atomic_load_explicit(&coarse, memory_order_relaxed)) {
		struct timespec time = {
			.tv_sec = timeout / 1000000000,
			.tv_nsec = timeout % 1000000000,
		};

		result = libc_call.epoll_pwait2(epoll_fd, events, room, &time, mask);
		if (result >= 0)
			return result;
		if (errno != ENOSYS && errno != EPERM)
			return -errno;
		/* An old kernel, or a filter of system calls: whole milliseconds then. */
		atomic_store(&coarse, true);
	}
	if (timeout >= 0) {
		int64_t rounded = timeout / 1000000 + !!(timeout % 1000000);

		milliseconds = rounded < INT32_MAX ? (int)rounded : INT32_MAX;
	}
	if (mask)
		result = libc_call.epoll_pwait(epoll_fd, events, room, milliseconds, mask);
	else
		result = libc_call.epoll_wait(epoll_fd, events, room, milliseconds);
	return result < 0 ? -errno : result;
}

static int kernel_sleep(struct epoll *epoll, int epoll_fd, struct epoll_event *events, int room,
			int64_t timeout, const sigset_t *mask)
{
	int result;

	pthread_cleanup_push(wait_cancelled, epoll);
	result = kernel_wait(epoll_fd, events, room, timeout, mask);
	pthread_cleanup_pop(0);
	return result;
}

/* Reports queued members, and asks the kernel about everything else without sleeping. */
static int collect(struct epoll *epoll, int epoll_fd, struct epoll_event *events, int room,
		   bool ask_kernel, bool patient)
{
	int share, count, kernel, tries = 0;
	unsigned int number;

	epoll_enter(epoll);
	number = ++epoll->waits;
	/* Half is kept for the others at first; of a single place every second one. */
	share = room == 1 ? (int)(number & 1) : room - room / 2;
	epoll_take_woken(epoll);
	count = queue_report(epoll, events, share, number, patient);
	if (!ask_kernel && share && (!count || epoll->unlooked < UNLOOKED_MOST)) {
		epoll->unlooked++;
		if (count == share)
			count += queue_report(epoll, events + count, room - count, number, true);
		epoll_leave(epoll);
		return count;
	}
	epoll->unlooked = 0;
	epoll_leave(epoll);

	/* Again if our own reports took all the room: the others are behind them. */
	do {
		int asked = room - count;

		kernel = kernel_sleep(epoll, epoll_fd, events + count, asked, 0, NULL);
		if (kernel < 0)
			return count ? count : kernel;
		count += translate(epoll, events + count, kernel);
		if (kernel < asked || room - count < asked)
			break;
	} while (++tries < LOOKS_MOST);
	epoll_enter(epoll);
	if (count < room)
		count += queue_report(epoll, events + count, room - count, number, true);
	epoll_leave(epoll);
	return count;
}

static int64_t time_left(int64_t deadline)
{
	int64_t now;

	if (deadline <= 0)
		return deadline;
	now = clock_now();
	return deadline > now ? deadline - now : 0;
}

/*
 * Polls those queued for a while: they were active lately and are the likely
 * ones to speak next. Returns a count or -errno; 0 with spinner->rounds 0: none is queued.
 */
static int spin(struct epoll *epoll, int epoll_fd, struct epoll_event *events, int room,
		struct spinner *spinner, int64_t deadline)
{
	bool empty;
	int count;

	epoll_enter(epoll);
	empty = TAILQ_EMPTY(&epoll->queue);
	spinner_start(spinner, epoll->poll_time, deadline);
	epoll_leave(epoll);
	if (empty)
		return 0;
	while (spinner_again(spinner)) {
		count = collect(epoll, epoll_fd, events, room, spinner->rounds % SPIN_KERNEL == 0,
				true);
		if (count)
			return count;
	}
	return 0;
}

/* deadline: 0 is now, -1 never. */
static int wait_involved(struct epoll *epoll, int epoll_fd, struct epoll_event *events, int room,
			 int64_t deadline, const sigset_t *mask)
{
	struct spinner spinner = { 0 };
	bool spun = false, ready;
	unsigned int number;
	int count, kernel;

	for (;;) {
		attach_listeners(epoll);
		settle_inner(epoll);
		count = collect(epoll, epoll_fd, events, room, deadline == 0, false);
		if (count || deadline == 0)
			return count;
		if (!spun) {
			spun = true;
			count = spin(epoll, epoll_fd, events, room, &spinner, deadline);
			if (count)
				return count;
		}

		epoll_enter(epoll);
		epoll_take_woken(epoll);
		ready = queue_arm(epoll);
		epoll->unlooked = 0;
		epoll_leave(epoll);
		kernel = kernel_sleep(epoll, epoll_fd, events, room,
				      ready ? 0 : time_left(deadline), mask);
		if (kernel < 0)
			return kernel;
		count = translate(epoll, events, kernel);
		epoll_enter(epoll);
		number = ++epoll->waits;
		if (count < room)
			count += queue_report(epoll, events + count, room - count, number, true);
		if (spinner.rounds && !ready) {
			epoll->poll_time = spinner_learn(&spinner, epoll->poll_time, !count);
			spinner.rounds = 0;
		}
		epoll_leave(epoll);
		if (count || (deadline > 0 && !time_left(deadline)))
			return count;
	}
}

int switch_epoll_wait(struct epoll *epoll, int epoll_fd, struct epoll_event *events, int room,
		      int64_t timeout, const sigset_t *mask)
{
	int64_t deadline = timeout > 0 ? clock_now() + timeout : timeout;
	int result;

	if (room <= 0) {
		epoll_put(epoll);
		return -EINVAL;
	}
	/*
	 * Counted before it looks whether sockets are involved: who involves one
	 * looks at the count afterwards, so one of the two sees the other.
	 */
	atomic_fetch_add(&epoll->waiter.inside, 1);
	atomic_fetch_add_explicit(&epoll->waiter.calls, 1, memory_order_relaxed);
	if (!epoll_has_sockets(epoll)) {
		result = kernel_sleep(epoll, epoll_fd, events, room, timeout, mask);
		if (result <= 0 || !epoll_has_sockets(epoll))
			goto out;
		/* A socket may have come in meanwhile, and its reports with it. */
		result = translate(epoll, events, result);
		if (result)
			goto out;
	}
	result = wait_involved(epoll, epoll_fd, events, room, deadline, mask);
out:
	atomic_fetch_sub(&epoll->waiter.inside, 1);
	if (epoll_has_sockets(epoll)) {
		/* What stays queued must not be overlooked by those who sleep. */
		epoll_enter(epoll);
		if (!epoll->closed)
			epoll_changed(epoll);
		epoll_leave(epoll);
	}
	epoll_put(epoll);
	return result;
}
