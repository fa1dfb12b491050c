/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a socket that names an address gets: a service's replica, where a workload has gone, a refusal, or a wait. */
#ifndef SAL_RESOLVE_H
#define SAL_RESOLVE_H

#include "drops.h"
#include "service.h"

/* Set by the loader. */
const volatile struct sal_connect_config connect_config = {};

enum sal_resolution {
	SAL_AS_IT_IS,
	SAL_RESOLVED,
	SAL_REFUSED,
	SAL_WAITS,
};

/* What BY_CLIENT goes by; false where the namespace is none of ours. */
SAL_INLINE bool sal_client_number(__u64 netns, __u32 *number)
{
	const struct sal_client *client = bpf_map_lookup_elem(&sal_clients, &netns);

	*number = client ? client->number : sal_mix(netns);
	return client || connect_config.every_client;
}

/* A workload has left this address, and nobody else has got it since. */
SAL_INLINE enum sal_resolution sal_resolve_left(struct sal_resolved *resolved)
{
	struct sal_endpoint key = {};
	const struct sal_endpoint *now;

	sal_copy_address(key.address, resolved->asked.address);
	now = bpf_map_lookup_elem(&sal_left_addresses, &key);
	if (!now)
		return SAL_AS_IT_IS;
	sal_copy_endpoint(&resolved->replica, &resolved->asked);
	sal_copy_address(resolved->replica.address, now->address);
	resolved->service = SAL_NO_SERVICE;
	return SAL_RESOLVED;
}

/*
 * `stable` is a number that stays with the socket, for datagrams, each of which is resolved anew: they go to one replica for
 * as long as the choices are the same. 0: draw one.
 */
SAL_INLINE enum sal_resolution sal_resolve(__u64 netns, __u32 stable, struct sal_resolved *resolved)
{
	const struct sal_endpoint *replica;
	const struct sal_service *service;
	struct sal_service_count *count;
	__u32 client, id, turn;

	if (!sal_client_number(netns, &client))
		return SAL_AS_IT_IS;
	service = bpf_map_lookup_elem(&sal_services, &resolved->asked);
	if (!service)
		return sal_resolve_left(resolved);
	id = service->id;
	count = bpf_map_lookup_elem(&sal_service_counts, &id);
	resolved->service = id;
	resolved->syn_timeout_ms = service->syn_timeout_ms;
	resolved->netns = netns;
	turn = sal_turn(service, count, client, stable);
	replica = service->rule == SAL_RULE_DROP ? NULL : sal_choose(service, netns, turn);
	if (replica) {
		sal_copy_address(resolved->replica.address, replica->address);
		resolved->replica.port = replica->port;
		resolved->replica.protocol = resolved->asked.protocol;
		return SAL_RESOLVED;
	}
	if (service->rule == SAL_RULE_DELAY && resolved->asked.protocol == IPPROTO_TCP) {
		if (count)
			__sync_fetch_and_add(&count->waited, 1);
		sal_copy_endpoint(&resolved->replica, &resolved->asked);
		return SAL_WAITS;
	}
	if (count)
		__sync_fetch_and_add(&count->refused, 1);
	sal_count_drop(SAL_REASON_NO_REPLICA, 0);
	return SAL_REFUSED;
}

#endif
