/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a socket that names an address gets: a service's replica, where a workload has gone, a refusal, or a wait. */
#ifndef SAL_RESOLVE_H
#define SAL_RESOLVE_H

#include "checked.h"
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
	struct sal_left left;

	sal_copy_address(key.address, resolved->asked.address);
	if (!sal_find_checked(&sal_left_addresses, &key, &left, SAL_WORDS(left)))
		return SAL_AS_IT_IS;
	sal_copy_endpoint(&resolved->replica, &resolved->asked);
	sal_copy_address(resolved->replica.address, left.now.address);
	resolved->service = SAL_NO_SERVICE;
	return SAL_RESOLVED;
}

/*
 * `stable` is a number that stays with the socket, for datagrams, each of which is resolved anew: they go to one replica for
 * as long as the choices are the same. 0: draw one.
 */
SAL_INLINE enum sal_resolution sal_resolve(__u64 netns, __u32 stable, struct sal_resolved *resolved)
{
	struct sal_service_count *count;
	struct sal_replica *replica;
	struct sal_service service;
	__u32 client, id;

	if (!sal_client_number(netns, &client))
		return SAL_AS_IT_IS;
	if (!sal_find_checked(&sal_services, &resolved->asked, &service, SAL_WORDS(service)))
		return sal_resolve_left(resolved);
	resolved->service = service.id;
	resolved->syn_timeout_ms = service.syn_timeout_ms;
	resolved->netns = netns;
	if (service.rule != SAL_RULE_DROP) {
		replica = sal_choose(&service, netns, sal_turn(&service, client, stable), &resolved->place);
		if (replica) {
			sal_copy_address(resolved->replica.address, replica->at.address);
			resolved->replica.port = replica->at.port;
			resolved->replica.protocol = resolved->asked.protocol;
			return SAL_RESOLVED;
		}
	}
	id = service.id;
	count = bpf_map_lookup_elem(&sal_service_counts, &id);
	if (service.rule == SAL_RULE_DELAY && resolved->asked.protocol == IPPROTO_TCP) {
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

/* The replica of a socket as the table has it now; NULL where something else is in its place by now. */
SAL_INLINE struct sal_replica *sal_replica_of(const struct sal_resolved *resolved)
{
	__u32 place = resolved->place;
	struct sal_replica *replica = bpf_map_lookup_elem(&sal_replicas, &place);

	if (!replica || resolved->service == SAL_NO_SERVICE || !sal_same_endpoint(&replica->at, &resolved->replica))
		return NULL;
	return replica;
}

SAL_INLINE void sal_note_connection(const struct sal_resolved *resolved, __u32 rtt_us)
{
	struct sal_replica *replica = sal_replica_of(resolved);

	if (!replica)
		return;
	__sync_fetch_and_add(&replica->connections, 1);
	/* Smoothed by an eighth, as TCP does. Two that write at once: one is lost, which is nothing to a mean. */
	if (rtt_us)
		replica->rtt_us = replica->rtt_us ? replica->rtt_us - replica->rtt_us / 8 + rtt_us / 8 : rtt_us;
}

SAL_INLINE void sal_note_failure(const struct sal_resolved *resolved)
{
	struct sal_replica *replica = sal_replica_of(resolved);

	if (replica)
		__sync_fetch_and_add(&replica->failures, 1);
}

#endif
