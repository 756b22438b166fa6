// SPDX-License-Identifier: BSD-2-Clause
/*
 * Winsock error codes to errno and back.
 */
#include "wsa_errno.h"

#include <errno.h>
#include <stddef.h>

#include <wsdirect/ws2types.h>

static const struct {
	int wsa_error;
	int error;
	const char *name;
} table[] = {
#define WSA_ERROR_ROW(name, number, error) { (number), (error), #name },
	WSA_ERROR_LIST(WSA_ERROR_ROW)
#undef WSA_ERROR_ROW
};

#define TABLE_ROWS (sizeof(table) / sizeof(table[0]))

int wsa_error_to_errno(int wsa_error)
{
	if (!wsa_error)
		return 0;
	for (size_t i = 0; i < TABLE_ROWS; i++)
		if (table[i].wsa_error == wsa_error)
			return table[i].error;
	return EIO;
}

int wsa_error_from_errno(int error)
{
	if (error < 0)
		error = -error;
	if (!error)
		return 0;
	/* The first of several codes with this errno is the usual one: ws2types.h keeps it so. */
	for (size_t i = 0; i < TABLE_ROWS; i++)
		if (table[i].error == error)
			return table[i].wsa_error;
	return WSASYSCALLFAILURE;
}

const char *wsa_error_name(int wsa_error)
{
	if (!wsa_error)
		return "success";
	for (size_t i = 0; i < TABLE_ROWS; i++)
		if (table[i].wsa_error == wsa_error)
			return table[i].name;
	return "unknown WSA error";
}
