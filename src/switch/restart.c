/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which signal came is not known afterwards, only which ones could have: those with a
 * handler that this thread does not block, without those that a thread brings upon itself,
 * not in its sleep (runtimes handle these, mostly without SA_RESTART). A call that goes on
 * though it should have ended may hang for ever, one that ends is called again: so it goes on
 * only if all of them say SA_RESTART, and if there is one at all (a handler that was good for
 * one signal is gone).
 */
#include "restart.h"

#include <signal.h>

static bool is_synchronous(int signal)
{
	return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
	       signal == SIGTRAP || signal == SIGSYS;
}

bool interrupted_call_goes_on(int64_t timeout)
{
	bool restarts = false;
	sigset_t blocked;

	if (timeout >= 0 || pthread_sigmask(SIG_SETMASK, NULL, &blocked))
		return false;
	for (int signal = 1; signal <= SIGRTMAX; signal++) {
		struct sigaction action;

		/* libc keeps the signals between these to itself. */
		if ((signal > SIGSYS && signal < SIGRTMIN) || is_synchronous(signal) ||
		    sigismember(&blocked, signal) ||
		    sigaction(signal, NULL, &action) ||
		    action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)
			continue;
		if (!(action.sa_flags & SA_RESTART))
			return false;
		restarts = true;
	}
	return restarts;
}
