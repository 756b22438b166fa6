/* SPDX-License-Identifier: BSD-2-Clause */
/* The switch's start, end, and what fork does to it. */
#include "lifetime.h"

#include <errno.h>
#include <string.h>

#include "attention.h"
#include "choice.h"
#include "descriptors.h"
#include "handover.h"
#include "log.h"
#include "settings.h"
#include "shared_port.h"
#include "socket_state.h"
#include "statistics.h"
#include "waiter.h"

void switch_open(void)
{
	settings_open();
	log_open();
	statistics_open();
	choice_open();
}

static void close_one(int fd, struct socket *socket, void *context)
{
	(void)fd;
	(void)context;
	socket_close(socket);
}

void switch_exit(void)
{
	descriptor_each(close_one, NULL);
	attention_drain((int)setting_number(SETTING_exit_patience));
}

static void deliver_what_was_closed(void)
{
	if (descriptors_are_ours())
		attention_drain((int)setting_number(SETTING_exit_patience));
}

void switch_leaving(void)
{
	deliver_what_was_closed();
	statistics_close();
}

void switch_executing(void)
{
	if (descriptors_are_ours())
		handover_exec();
	deliver_what_was_closed();
}

/*
 * Another thread of the parent may have held any of these locks; in the child
 * there is only this thread, so they are simply made anew.
 */
static void disown(int fd, struct socket *socket, void *context)
{
	unsigned int *connections = context;

	light_lock_init(&socket->lock);
	waiter_list_init(&socket->waiters);
	socket->attention.listed = socket->attention.attended = false;
	socket->attention.descriptor = -1;
	switch (socket->state) {
	case SOCKET_LISTENING:
		memset(&socket->listening, 0, sizeof(socket->listening));
		socket->listening.event = -1;
		socket->listening.companion = INVALID_SOCKET;
		socket->state = SOCKET_PLAIN;
		descriptor_clear(fd, socket);
		descriptor_mark_listening(fd, true);
		return;
	case SOCKET_CONNECTING:
	case SOCKET_CONNECTED:
		(*connections)++;
		memset(&socket->session, 0, sizeof(socket->session));
		socket->session.companion = INVALID_SOCKET;
		socket->session.broken = true;
		socket->session.error = EOPNOTSUPP;
		socket->connecting.event = socket->connecting.kernel = -1;
		socket->connecting.companion = INVALID_SOCKET;
		socket->state = SOCKET_CONNECTED;
		socket->of_parent = true;
		/* Not put: the parent's threads may have had that listener's lock. */
		socket->acceptor = NULL;
		return;
	case SOCKET_PLAIN:
	case SOCKET_CLOSED:
		return;
	}
}

void switch_forked_child(void)
{
	unsigned int connections = 0;

	provider_forget();
	attention_forked();
	waiter_forked();
	statistics_forked();
	log_forked();
	handover_forked();
	shared_port_forked();
	descriptor_each(disown, &connections);
	if (connections)
		log_info("switch: %u SAN connections stay with the parent process", connections);
}
