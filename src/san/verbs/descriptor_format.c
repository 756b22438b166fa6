// SPDX-License-Identifier: BSD-2-Clause
/*
 * The descriptor of exposed memory, to and from bytes. Pure: it meets whatever a
 * hostile peer sends.
 */
#include "exposure.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static void put(uint8_t *bytes, uint64_t value, unsigned size)
{
	uint64_t little = htole64(value);

	memcpy(bytes, &little, size);
}

static uint64_t get(const uint8_t *bytes, unsigned size)
{
	uint64_t little = 0;

	memcpy(&little, bytes, size);
	return le64toh(little);
}

void descriptor_encode(const struct descriptor *descriptor, uint8_t bytes[DESCRIPTOR_LENGTH])
{
	put(bytes, descriptor->address, 8);
	put(bytes + 8, descriptor->length, 8);
	put(bytes + 16, descriptor->key, 4);
	put(bytes + 20, descriptor->rights, 2);
	put(bytes + 22, DESCRIPTOR_MAGIC, 2);
}

int descriptor_decode(const void *from, uint32_t length, struct descriptor *descriptor)
{
	const uint8_t *bytes = from;

	if (!from || length != DESCRIPTOR_LENGTH || get(bytes + 22, 2) != DESCRIPTOR_MAGIC)
		return -EINVAL;
	descriptor->address = get(bytes, 8);
	descriptor->length = get(bytes + 8, 8);
	descriptor->key = (uint32_t)get(bytes + 16, 4);
	descriptor->rights = (uint32_t)get(bytes + 20, 2);
	if (!descriptor->rights || descriptor->rights & ~(uint32_t)MEM_READWRITE)
		return -EINVAL;
	if (!descriptor->length || descriptor->length > UINT64_MAX - descriptor->address)
		return -EINVAL;
	return 0;
}
