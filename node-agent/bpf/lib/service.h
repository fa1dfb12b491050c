/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which replica: one look-up of the service and one of the choice. The agent has worked out the weights (services/plan.ts);
 * what is left is to draw a number. The same for connect() and for guests, whose SYNs are resolved on the pod's device.
 */
#ifndef SAL_SERVICE_H
#define SAL_SERVICE_H

#include "packet.h"
#include "service_maps.h"

SAL_INLINE void sal_copy_endpoint(struct sal_endpoint *to, const struct sal_endpoint *from)
{
	sal_copy_address(to->address, from->address);
	to->port = from->port;
	to->protocol = from->protocol;
	to->reserved = 0;
}

SAL_INLINE bool sal_same_endpoint(const struct sal_endpoint *a, const struct sal_endpoint *b)
{
	return a->port == b->port && sal_same_address(a->address, b->address);
}

/* Spreads what is a number of something over all 32 bits (the finalizer of MurmurHash3). */
SAL_INLINE __u32 sal_mix(__u32 x)
{
	x ^= x >> 16;
	x *= 0x85ebca6b;
	x ^= x >> 13;
	x *= 0xc2b2ae35;
	return x ^ x >> 16;
}

/* The number that says which of its choices a flow takes; `stable`, where it isn't 0, stays the same for a socket. */
SAL_INLINE __u32 sal_turn(const struct sal_service *service, __u32 client, __u32 stable)
{
	struct sal_service_count *count;
	__u32 id = service->id;

	if (service->balance == SAL_BALANCE_BY_CLIENT)
		return sal_mix(client + id);
	if (stable)
		return stable;
	if (service->balance != SAL_BALANCE_IN_TURN)
		return bpf_get_prandom_u32();
	count = bpf_map_lookup_elem(&sal_service_counts, &id);
	return count ? __sync_fetch_and_add(&count->turn, 1) : 0;
}

/* The pod itself, where it is one of the replicas and the service wants that. */
SAL_INLINE bool sal_own_replica(const struct sal_service *service, __u64 netns, __u32 *number)
{
	struct sal_own_key key = { .netns = netns, .service = service->id };
	__u32 *own;

	if (!(service->flags & SAL_SERVICE_OWN))
		return false;
	own = bpf_map_lookup_elem(&sal_own_replicas, &key);
	if (!own || *own >= service->count)
		return false;
	*number = *own;
	return true;
}

/* By the choices: they have each replica as often as its weight says. */
SAL_INLINE bool sal_weighted_choice(const struct sal_service *service, __u32 turn, __u32 *number)
{
	__u32 at = service->choices + turn % service->size;
	__u32 index = at / 2;
	const struct sal_choices *choices = bpf_map_lookup_elem(&sal_choices, &index);

	if (!choices)
		return false;
	*number = choices->number[at & 1];
	return true;
}

/* NULL where the service has none. `place` is where it is in sal_replicas. */
SAL_INLINE struct sal_replica *sal_choose(const struct sal_service *service, __u64 netns, __u32 turn, __u32 *place)
{
	__u32 number;

	if (!service->size)
		return NULL;
	if (!sal_own_replica(service, netns, &number)) {
		if (service->flags & SAL_SERVICE_EVEN)
			number = turn % service->size;
		else if (!sal_weighted_choice(service, turn, &number))
			return NULL;
	}
	*place = service->replicas + number;
	return bpf_map_lookup_elem(&sal_replicas, place);
}

#endif
