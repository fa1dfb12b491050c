/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments. Only a datagram's first fragment has ports; what was decided for it is remembered under the datagram's
 * id, and the later ones follow. Between addresses that no rule knows nothing is remembered and everything passes.
 */
#ifndef SAL_FRAGMENT_H
#define SAL_FRAGMENT_H

#include "maps.h"
#include "packet.h"
#include "parse.h"
#include "rewrite.h"
#include "table.h"

SAL_INLINE void sal_fragment_key(const struct sal_packet *pkt, struct sal_fragment_key *key)
{
	key->scope = pkt->key.scope;
	key->scope.protocol = pkt->fragment_protocol;
	sal_copy_address(key->local, pkt->key.tuple.local);
	sal_copy_address(key->remote, pkt->key.tuple.remote);
	key->id = pkt->fragment_id;
}

/* Called for every first fragment, before it is translated; `slot` is NULL where its flow has no rule. */
SAL_NOINLINE int sal_remember_fragment(const struct sal_packet *pkt, const struct sal_slot *slot, __u32 index)
{
	struct sal_fragment decision = { .state = SAL_STATE_PENDING };
	struct sal_fragment_key key = {};

	if (!pkt || (!slot && !sal_pair_known(&pkt->key)))
		return 0;
	if (slot) {
		decision.state = slot->state;
		decision.slot = index;
		decision.flow_id = slot->flow_id;
	}
	sal_fragment_key(pkt, &key);
	bpf_map_update_elem(&sal_fragments, &key, &decision, BPF_ANY);
	return 0;
}

SAL_INLINE enum sal_reason sal_later_fragment(struct __sk_buff *skb, const struct sal_packet *pkt, int direction)
{
	struct sal_fragment_key key = {};
	struct sal_fragment *decision;
	struct sal_slot *slot;
	__u32 index;

	sal_fragment_key(pkt, &key);
	decision = bpf_map_lookup_elem(&sal_fragments, &key);
	if (!decision)
		return sal_may_have_ports(pkt->protocol) && sal_pair_known(&pkt->key) ? SAL_REASON_FRAGMENT_UNKNOWN :
											 SAL_REASON_NONE;
	if (decision->state == SAL_STATE_PENDING)
		return SAL_REASON_NONE;
	if (decision->state == SAL_STATE_HELD)
		return SAL_REASON_HELD_FRAGMENT;
	if (decision->state == SAL_STATE_REFUSED)
		return SAL_REASON_GIVEN_UP;
	index = decision->slot;
	slot = bpf_map_lookup_elem(&sal_slots, &index);
	/* The rule is gone, and its slot may serve another flow by now. */
	if (!slot || !decision->flow_id || slot->flow_id != decision->flow_id || slot->match.scope.direction != direction ||
	    !sal_same_address(slot->match.tuple.local, key.local) ||
	    !sal_same_address(slot->match.tuple.remote, key.remote))
		return SAL_REASON_FRAGMENT_UNKNOWN;
	if (pkt->obstacle)
		return pkt->obstacle;
	sal_count(slot, skb);
	return sal_translate_later_fragment(skb, pkt, slot, direction);
}

#endif
