// SPDX-License-Identifier: BSD-2-Clause
/* The device stays open as long as the program runs. */
#include "verbs_device.h"

#include <errno.h>
#include <string.h>

#include "buffers.h"

struct ibv_pd *verbs_device_pd(const char *device)
{
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct ibv_context *context = NULL;
	struct ibv_pd *pd;

	for (int i = 0; devices && devices[i]; i++)
		if (strcmp(ibv_get_device_name(devices[i]), device) == 0)
			context = ibv_open_device(devices[i]);
	if (!context)
		must(-ENODEV, device);
	ibv_free_device_list(devices);
	pd = ibv_alloc_pd(context);
	if (!pd)
		must(-errno, "ibv_alloc_pd");
	return pd;
}
