// SPDX-License-Identifier: BSD-2-Clause
/* UCX's cache, reached through uct_md_mem_reg() of its memory domain for the device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uct/api/uct.h>

#include "buffers.h"
#include "registrar.h"

const bool registrar_caches = true;
const bool registrar_watches = true;

static uct_md_h domain;

static void must_ucs(ucs_status_t status, const char *what)
{
	if (status == UCS_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, ucs_status_string(status));
	exit(EXIT_FAILURE);
}

/* Opens the resource @name of @component, if it has one. */
static bool component_open(uct_component_h component, const char *name)
{
	uct_component_attr_t attributes = {
		.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT,
	};
	uct_md_config_t *config;
	bool found = false;

	must_ucs(uct_component_query(component, &attributes), "uct_component_query");
	attributes.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
	attributes.md_resources = calloc(attributes.md_resource_count + 1,
					 sizeof(*attributes.md_resources));
	if (!attributes.md_resources)
		must(-ENOMEM, "resources");
	must_ucs(uct_component_query(component, &attributes), "uct_component_query");
	for (unsigned i = 0; i < attributes.md_resource_count && !found; i++)
		found = strcmp(attributes.md_resources[i].md_name, name) == 0;
	free(attributes.md_resources);
	if (!found)
		return false;
	must_ucs(uct_md_config_read(component, NULL, NULL, &config), "uct_md_config_read");
	must_ucs(uct_config_modify(config, "REG_METHODS", "rcache"), "REG_METHODS");
	must_ucs(uct_md_open(component, name, config, &domain), "uct_md_open");
	uct_config_release(config);
	return true;
}

void registrar_open(const char *device)
{
	uct_component_h *components;
	unsigned count;

	must_ucs(uct_query_components(&components, &count), "uct_query_components");
	for (unsigned i = 0; i < count && !domain; i++)
		component_open(components[i], device);
	uct_release_component_list(components);
	if (!domain)
		must(-ENODEV, device);
}

int registrar_get(void *address, size_t length, void **held)
{
	ucs_status_t status = uct_md_mem_reg(domain, address, length,
					     UCT_MD_MEM_ACCESS_LOCAL_READ |
					     UCT_MD_MEM_ACCESS_LOCAL_WRITE |
					     UCT_MD_MEM_ACCESS_REMOTE_PUT |
					     UCT_MD_MEM_ACCESS_REMOTE_GET, held);

	return status == UCS_OK ? 0 : -EIO;
}

void registrar_put(void *held)
{
	must_ucs(uct_md_mem_dereg(domain, held), "uct_md_mem_dereg");
}

/*
 * Registrations that went stale are given back when a look-up finds nothing. So this costs a
 * registration too.
 */
void registrar_settle(void *address, size_t length)
{
	void *held;

	must(registrar_get(address, length, &held), "uct_md_mem_reg");
	registrar_put(held);
}
