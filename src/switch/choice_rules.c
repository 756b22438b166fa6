/* SPDX-License-Identifier: BSD-2-Clause */
/* The operator's rules. Needs nothing else of the switch: `wsdirect settings` has it too. */
#include "choice.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "settings.h"

#define RULES_MOST	64

struct rule {
	char program[64];		/* empty: any */
	unsigned int calls;		/* CHOICE_CONNECT | CHOICE_LISTEN */
	int family;			/* AF_UNSPEC: any address */
	uint8_t address[16];
	unsigned int bits;
	uint16_t port;			/* 0: any */
	enum choice choice;
};

static struct rule rules[RULES_MOST];	/* written once, before any reader */
static unsigned int rule_count;
static pthread_once_t rules_once = PTHREAD_ONCE_INIT;

/* ADDRESS[/BITS][:PORT], [ADDRESS][/BITS][:PORT] for IPv6 in brackets, :PORT or *. */
static bool parse_target(char *text, struct rule *rule)
{
	char *address = text, *port = NULL, *bits, *end;
	unsigned long number;

	if (*text == '[') {
		address = text + 1;
		end = strchr(address, ']');
		if (!end)
			return false;
		*end++ = '\0';
		if (*end && *end != '/' && *end != ':')
			return false;
		bits = *end == '/' ? end : NULL;
		port = strchr(end, ':');
	} else {
		port = strchr(text, ':');
		/* Is "fd77::1:5" a port of fd77::1? */
		if (port && strchr(port + 1, ':'))
			return false;
		bits = strchr(text, '/');
	}
	if (port)
		*port++ = '\0';
	if (bits)
		*bits++ = '\0';
	if (port) {
		number = strtoul(port, &end, 10);
		if (*end || !*port || number == 0 || number > 65535)
			return false;
		rule->port = (uint16_t)number;
	}
	if (!*address || !strcmp(address, "*"))
		return !bits;
	if (inet_pton(AF_INET, address, rule->address) == 1)
		rule->family = AF_INET;
	else if (inet_pton(AF_INET6, address, rule->address) == 1)
		rule->family = AF_INET6;
	else
		return false;
	rule->bits = rule->family == AF_INET ? 32 : 128;
	if (bits) {
		number = strtoul(bits, &end, 10);
		if (*end || !*bits || number > rule->bits)
			return false;
		rule->bits = (unsigned int)number;
	}
	return true;
}

static bool parse_rule(char *text, struct rule *rule)
{
	char *save, *word = strtok_r(text, " \t\n", &save);
	bool target = false;

	*rule = (struct rule){ .calls = CHOICE_CONNECT | CHOICE_LISTEN, .family = AF_UNSPEC };
	for (; word; word = strtok_r(NULL, " \t\n", &save)) {
		if (!strcmp(word, "tcp") || !strcmp(word, "san") || !strcmp(word, "auto")) {
			rule->choice = *word == 't' ? CHOICE_TCP : *word == 's' ? CHOICE_SAN : CHOICE_AUTO;
			return !strtok_r(NULL, " \t\n", &save);
		}
		if (!strcmp(word, "program")) {
			word = strtok_r(NULL, " \t\n", &save);
			if (!word || strlen(word) >= sizeof(rule->program))
				return false;
			strcpy(rule->program, word);
		} else if (!strcmp(word, "connect")) {
			rule->calls = CHOICE_CONNECT;
		} else if (!strcmp(word, "listen")) {
			rule->calls = CHOICE_LISTEN;
		} else if (!target) {
			target = true;
			if (!parse_target(word, rule))
				return false;
		} else {
			return false;
		}
	}
	return false;
}

static void parse_rules(void)
{
	char *copy = strdup(setting_text(SETTING_rules)), *save = NULL, *text;

	if (!copy)
		return;
	for (text = strtok_r(copy, ";", &save); text; text = strtok_r(NULL, ";", &save)) {
		char shown[128];

		text += strspn(text, " \t\n");
		if (!*text)
			continue;
		snprintf(shown, sizeof(shown), "%s", text);
		if (rule_count == RULES_MOST)
			log_error("switch: more than %d rules: \"%s\" and those after it are left out",
				  RULES_MOST, shown);
		else if (parse_rule(text, &rules[rule_count]))
			rule_count++;
		else
			log_error("switch: malformed rule \"%s\" is left out; a rule is [program NAME] "
				  "[connect|listen] [ADDRESS[/BITS]][:PORT] tcp|san|auto, an IPv6 "
				  "address in brackets", shown);
		if (rule_count == RULES_MOST)
			break;
	}
	free(copy);
}

void choice_open(void)
{
	pthread_once(&rules_once, parse_rules);
}

static bool in_network(const uint8_t *address, const uint8_t *network, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (memcmp(address, network, whole))
		return false;
	return !rest || !((address[whole] ^ network[whole]) & (0xff << (8 - rest)));
}

static bool rule_fits(const struct rule *rule, enum choice_call call,
		      const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	if (!(rule->calls & call))
		return false;
	if (*rule->program && strcmp(rule->program, program_invocation_short_name))
		return false;
	if (rule->port && rule->port != ntohs(v4->sin_port))
		return false;
	if (rule->family == AF_UNSPEC)
		return true;
	if (rule->family != address->ss_family)
		return false;
	return in_network(rule->family == AF_INET ? (const uint8_t *)&v4->sin_addr :
						    (const uint8_t *)&v6->sin6_addr,
			  rule->address, rule->bits);
}

enum choice choice_rule(enum choice_call call, const struct sockaddr *address)
{
	struct sockaddr_storage normal;
	socklen_t length = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) :
							   sizeof(struct sockaddr_in6);

	choice_open();
	if (!rule_count || !choice_normalize(address, length, &normal))
		return CHOICE_AUTO;
	for (unsigned int i = 0; i < rule_count; i++)
		if (rule_fits(&rules[i], call, &normal))
			return rules[i].choice;
	return CHOICE_AUTO;
}

socklen_t choice_normalize(const struct sockaddr *address, socklen_t length,
			   struct sockaddr_storage *normal)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	memset(normal, 0, sizeof(*normal));
	if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		memcpy(normal, address, sizeof(struct sockaddr_in));
		return sizeof(struct sockaddr_in);
	}
	if (address->sa_family != AF_INET6 || length < sizeof(struct sockaddr_in6))
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)normal;

		v4->sin_family = AF_INET;
		v4->sin_port = v6->sin6_port;
		memcpy(&v4->sin_addr, &v6->sin6_addr.s6_addr[12], 4);
		return sizeof(*v4);
	}
	memcpy(normal, address, sizeof(*v6));
	return sizeof(*v6);
}
