// SPDX-License-Identifier: BSD-2-Clause
/*
 * Winsock error codes to errno.
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

const char *wsa_error_name(int wsa_error)
{
	if (!wsa_error)
		return "success";
	for (size_t i = 0; i < TABLE_ROWS; i++)
		if (table[i].wsa_error == wsa_error)
			return table[i].name;
	return "unknown WSA error";
}
