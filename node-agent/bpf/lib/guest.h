/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Guests behind a pod's device, whose sockets are in another kernel or another namespace: a VM, containers behind a bridge. No
 * connect() of theirs can be resolved, so their flows are, by the packet that opens them, with the same choice; and since
 * their sockets go on believing in the virtual IP every packet is translated. Only in pods that were declared to have guests.
 */
#ifndef SAL_GUEST_H
#define SAL_GUEST_H

#include "drops.h"
#include "maps.h"
#include "packet.h"
#include "rewrite.h"
#include "checked.h"
#include "service.h"
#include "table.h"

/* Who has no answer to its SYN for so long gets another replica with the next one. */
#define SAL_GUEST_PATIENCE_NS 50000000ULL
/* Two flows of a guest that use one port can't go to one replica: another one is drawn, so often. */
#define SAL_GUEST_DRAWS 4

SAL_INLINE bool sal_is_opening(struct __sk_buff *skb, const struct sal_packet *pkt)
{
	__u8 flags = 0;

	if (pkt->protocol == IPPROTO_UDP)
		return true;
	return bpf_skb_load_bytes(skb, pkt->l4 + 13, &flags, 1) == 0 && (flags & 0x12) == 0x02;
}

/* Kernels before 6.2 take no key that lies in the memory that a function was given: so it is copied. */
SAL_INLINE struct sal_guest_flow *sal_find_guest_flow(const struct sal_key *key)
{
	struct sal_key copy = *key;

	return bpf_map_lookup_elem(&sal_guest_flows, &copy);
}

SAL_INLINE struct sal_guest_flow *sal_guest_scratch_of(__u32 direction)
{
	return bpf_map_lookup_elem(&sal_guest_scratch, &direction);
}

/* The way back: what comes from the replica is from the virtual IP. */
SAL_INLINE void sal_turn_around(struct sal_guest_flow *back, const struct sal_guest_flow *there)
{
	back->slot = there->slot;
	back->slot.match.tuple = there->slot.to;
	back->slot.match.scope.direction = SAL_INGRESS;
	back->slot.to = there->slot.match.tuple;
	back->slot.address_diff = sal_sum_diff_address(0, there->slot.to.remote, there->slot.match.tuple.remote);
	back->slot.port_diff = sal_sum_add((__u16)~there->slot.to.remote_port, there->slot.match.tuple.remote_port);
	back->slot.packets = 0;
	back->slot.bytes = 0;
	back->began_ns = there->began_ns;
	back->place = there->place;
	back->answered = 0;
}

/* What was put together becomes known, both ways, the way back first; false where another flow of the guest has it already. */
SAL_NOINLINE int sal_publish_guest_flow(void)
{
	struct sal_guest_flow *there = sal_guest_scratch_of(SAL_EGRESS), *back = sal_guest_scratch_of(SAL_INGRESS);
	struct sal_guest_flow *known;

	if (!there || !back)
		return 0;
	sal_turn_around(back, there);
	known = sal_find_guest_flow(&back->slot.match);
	if (known && (!sal_same_address(known->slot.to.remote, back->slot.to.remote) ||
		      known->slot.to.remote_port != back->slot.to.remote_port))
		return 0;
	return bpf_map_update_elem(&sal_guest_flows, &back->slot.match, back, BPF_ANY) == 0 &&
	       bpf_map_update_elem(&sal_guest_flows, &there->slot.match, there, BPF_ANY) == 0;
}

SAL_INLINE void sal_forget_guest_flow(const struct sal_guest_flow *there)
{
	struct sal_key back = there->slot.match;

	back.tuple = there->slot.to;
	back.scope.direction = SAL_INGRESS;
	bpf_map_delete_elem(&sal_guest_flows, &back);
}

SAL_INLINE __u32 sal_guest_number(const struct sal_key *key)
{
	const __be32 *address = key->tuple.local;

	return sal_mix(address[0] ^ address[1] ^ address[2] ^ address[3]);
}

enum sal_draw {
	SAL_DRAWN, /* the flow has its replica */
	SAL_DRAW_AGAIN, /* another one, please */
	SAL_DRAW_NONE, /* there is none */
};

/* One draw; `last` is a replica that it is better not to be. */
SAL_NOINLINE int sal_draw_replica(const struct sal_packet *pkt, const struct sal_endpoint *asked,
				  const struct sal_endpoint *last, __u32 draw)
{
	struct sal_guest_flow *there = sal_guest_scratch_of(SAL_EGRESS);
	struct sal_service service = {};
	struct sal_replica *replica;
	struct sal_endpoint key;
	__u32 place = 0, turn;

	if (!pkt || !asked || !last || !there)
		return SAL_DRAW_NONE;
	key = *asked;
	if (!sal_find_checked(&sal_services, &key, &service, SAL_WORDS(service)) || service.rule == SAL_RULE_DROP)
		return SAL_DRAW_NONE;
	turn = sal_turn(&service, sal_guest_number(&pkt->key), 0);
	/* By client the first draw is the client's own; the others lead elsewhere. */
	if (service.balance == SAL_BALANCE_BY_CLIENT)
		turn += draw;
	replica = sal_choose(&service, 0, turn, &place);
	if (!replica)
		return SAL_DRAW_NONE;
	if (draw + 1 < SAL_GUEST_DRAWS && last->port && sal_same_endpoint(&replica->at, last))
		return SAL_DRAW_AGAIN;
	__builtin_memset(there, 0, sizeof(*there));
	there->slot.match = pkt->key;
	there->slot.to = pkt->key.tuple;
	sal_copy_address(there->slot.to.remote, replica->at.address);
	there->slot.to.remote_port = replica->at.port;
	there->slot.state = SAL_STATE_ACTIVE;
	there->slot.address_diff = sal_sum_diff_address(0, pkt->key.tuple.remote, replica->at.address);
	there->slot.port_diff = sal_sum_add((__u16)~pkt->key.tuple.remote_port, replica->at.port);
	there->began_ns = bpf_ktime_get_ns();
	there->place = place;
	if (!sal_publish_guest_flow())
		return SAL_DRAW_AGAIN;
	__sync_fetch_and_add(&replica->connections, 1);
	return SAL_DRAWN;
}

/* Chooses a replica for the flow that this packet opens, another one than `last` where there is a choice. */
SAL_INLINE enum sal_reason sal_open_guest_flow(const struct sal_packet *pkt, const struct sal_endpoint *asked,
					       const struct sal_endpoint *last)
{
	struct sal_service service = {};
	int drawn = SAL_DRAW_AGAIN;

	if (!sal_find_checked(&sal_services, asked, &service, SAL_WORDS(service)))
		return SAL_REASON_NONE;
#pragma unroll
	for (int draw = 0; draw < SAL_GUEST_DRAWS; draw++)
		if (drawn == SAL_DRAW_AGAIN)
			drawn = sal_draw_replica(pkt, asked, last, draw);
	if (drawn == SAL_DRAWN)
		return SAL_REASON_NONE;
	return service.rule == SAL_RULE_DELAY ? SAL_REASON_DELAYED : SAL_REASON_NO_REPLICA;
}

/* A SYN that is sent again, since nobody has answered. */
SAL_INLINE bool sal_is_unanswered(const struct sal_guest_flow *flow)
{
	return !flow->answered && bpf_ktime_get_ns() - flow->began_ns > SAL_GUEST_PATIENCE_NS;
}

SAL_INLINE void sal_note_silence(const struct sal_guest_flow *flow)
{
	__u32 place = flow->place;
	struct sal_replica *replica = bpf_map_lookup_elem(&sal_replicas, &place);

	if (replica && sal_same_address(replica->at.address, flow->slot.to.remote))
		__sync_fetch_and_add(&replica->failures, 1);
}

/* Gives the packet's flow a replica where it needs one. */
SAL_NOINLINE enum sal_reason sal_resolve_guest(struct __sk_buff *skb, const struct sal_packet *pkt)
{
	struct sal_endpoint asked = {}, last = {};
	struct sal_guest_flow *flow;

	if (!pkt || !sal_is_opening(skb, pkt))
		return SAL_REASON_NONE;
	flow = sal_find_guest_flow(&pkt->key);
	if (flow) {
		if (pkt->protocol != IPPROTO_TCP || !sal_is_unanswered(flow))
			return SAL_REASON_NONE;
		sal_note_silence(flow);
		sal_copy_address(last.address, flow->slot.to.remote);
		last.port = flow->slot.to.remote_port;
		sal_forget_guest_flow(flow);
	}
	sal_copy_address(asked.address, pkt->key.tuple.remote);
	asked.port = pkt->key.tuple.remote_port;
	asked.protocol = pkt->protocol;
	return sal_open_guest_flow(pkt, &asked, &last);
}

SAL_INLINE void sal_note_answer(struct sal_guest_flow *back)
{
	struct sal_guest_flow *there;
	struct sal_key key;

	if (back->answered)
		return;
	back->answered = 1;
	key = back->slot.match;
	key.tuple = back->slot.to;
	key.scope.direction = SAL_EGRESS;
	there = sal_find_guest_flow(&key);
	if (there)
		there->answered = 1;
}

/* A packet that no rule knows, of a pod with guests: translated where it is to a virtual IP or from a replica. */
SAL_NOINLINE enum sal_reason sal_guest(struct __sk_buff *skb, const struct sal_packet *pkt, int direction)
{
	enum sal_reason reason = SAL_REASON_NONE;
	struct sal_guest_flow *flow;

	if (!pkt)
		return SAL_REASON_NONE;
	if (direction == SAL_EGRESS)
		reason = sal_resolve_guest(skb, pkt);
	if (reason)
		return reason;
	flow = sal_find_guest_flow(&pkt->key);
	if (!flow)
		return SAL_REASON_NONE;
	if (pkt->fragment != SAL_WHOLE)
		return SAL_REASON_GUEST_FRAGMENT;
	if (pkt->obstacle)
		return pkt->obstacle;
	if (direction == SAL_INGRESS)
		sal_note_answer(flow);
	sal_count(&flow->slot, skb);
	return direction == SAL_EGRESS ? sal_translate(skb, pkt, &flow->slot, SAL_EGRESS) :
					 sal_translate(skb, pkt, &flow->slot, SAL_INGRESS);
}

#endif
