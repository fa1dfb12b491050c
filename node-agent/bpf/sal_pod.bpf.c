// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The service access layer on a pod's eth0: egress turns identity into wire, ingress wire into identity, each for
 * exactly the flows that have a rule. The logic in lib/ returns a reason; only here it becomes a verdict. Loaded once: each
 * pod's own entry (sal_entry.bpf.c) says which pod it is and goes on here.
 */
#include <stddef.h>

#include "lib/entries.h"
#include "lib/maps.h"
#include "lib/packet.h"
#include "lib/parse.h"
#include "lib/table.h"
#include "lib/rewrite.h"
#include "lib/fragment.h"
#include "lib/hold.h"
#include "lib/guest.h"
#include "lib/icmp.h"
#include "lib/reroute.h"
#include "lib/session.h"

SAL_NOINLINE int sal_drop(struct __sk_buff *skb, __u32 reason)
{
	sal_count_drop(reason, skb->len);
	return TC_ACT_SHOT;
}

/*
 * Give a packet up so that its sender believes it sent. TC_ACT_SHOT tells TCP of a local drop: it then takes back the
 * sending, and later discards the far end's acknowledgement of the replayed segment as one for data never sent (a
 * stall of 200 ms, measured). TC_ACT_STOLEN would do, but TCX doesn't know it; a redirect to a device that doesn't
 * exist frees the packet and reports success to the sender, by TCX and by clsact.
 */
SAL_INLINE int sal_lose(struct __sk_buff *skb, __u32 reason)
{
	sal_drop(skb, reason);
	return bpf_redirect(0, 0);
}

/*
 * Of a held flow nothing is told to its sender, since a replay sends it again. Of a held pod it is: its workload stands
 * still, and what its kernel could not send is to stay unsent. A restored socket has no round-trip time; what it took for
 * sent it would send again after a whole second (seen: streams with more than one segment on their way stood still for that
 * long), while what is unsent goes out with the first packet that a peer replays.
 */
SAL_INLINE bool sal_is_silent(enum sal_reason reason)
{
	return reason == SAL_REASON_HELD || reason == SAL_REASON_HELD_NEW ||
	       (reason >= SAL_REASON_HELD_RING_FULL && reason <= SAL_REASON_HELD_FRAGMENT);
}

SAL_INLINE __u32 sal_pod_flags(const struct __sk_buff *skb)
{
	__u32 index = sal_pod_id(skb);
	struct sal_pod *pod = bpf_map_lookup_elem(&sal_pods, &index);

	return pod ? *(volatile __u32 *)&pod->flags : 0;
}

SAL_INLINE bool sal_pod_held(const struct __sk_buff *skb)
{
	return sal_pod_flags(skb) & SAL_POD_HELD;
}

/* More is wanted of this pod than its rules say. */
SAL_INLINE enum sal_reason sal_marked(struct __sk_buff *skb, const struct sal_packet *pkt, const struct sal_slot *slot,
				      __u32 flags)
{
	enum sal_reason reason = SAL_REASON_NONE;

	if (flags & SAL_POD_HELD || (flags & SAL_POD_QUIET && !slot))
		reason = sal_hold_pod(skb, pkt, flags);
	if (!reason && flags & SAL_POD_TRACKED && pkt->protocol == IPPROTO_UDP)
		sal_note_session(pkt, slot);
	return reason;
}

SAL_INLINE enum sal_reason sal_flow(struct __sk_buff *skb, const struct sal_packet *pkt, int direction)
{
	__u32 index = 0;
	struct sal_slot *slot = sal_find(&pkt->key, pkt->version, &index);
	__u8 state = slot ? *(volatile __u8 *)&slot->state : SAL_STATE_NONE;
	__u32 flags;

	if (pkt->fragment == SAL_FRAGMENT_FIRST)
		sal_remember_fragment(pkt, slot, index);
	flags = sal_pod_flags(skb);
	/* Where the pod is held too, TCP has to know that nothing was sent: see sal_is_silent. */
	if (state == SAL_STATE_HELD && !(flags & SAL_POD_HELD && pkt->protocol == IPPROTO_TCP))
		return sal_hold(skb, pkt, slot);
	if (flags & (SAL_POD_HELD | SAL_POD_QUIET | SAL_POD_TRACKED)) {
		enum sal_reason reason = sal_marked(skb, pkt, slot, flags);

		if (reason)
			return reason;
	}
	if (!slot && flags & SAL_POD_GUESTS)
		return sal_guest(skb, pkt, direction);
	if (state == SAL_STATE_REFUSED)
		return SAL_REASON_GIVEN_UP;
	if (!slot || state != SAL_STATE_ACTIVE)
		return SAL_REASON_NONE;
	if (pkt->obstacle)
		return pkt->obstacle;
	sal_count(slot, skb);
	return sal_translate(skb, pkt, slot, direction);
}

SAL_NOINLINE enum sal_reason sal_icmp_or_hold(struct __sk_buff *skb, const struct sal_packet *pkt, int direction)
{
	__u8 type = 0;
	bool guests;

	if (!pkt)
		return SAL_REASON_NONE;
	if (sal_pod_held(skb)) {
		bpf_skb_load_bytes(skb, pkt->l4, &type, 1);
		if (pkt->version == 4 || !sal_is_neighbour_discovery(type))
			return SAL_REASON_HELD_POD;
	}
	guests = sal_pod_flags(skb) & SAL_POD_GUESTS;
	return direction == SAL_EGRESS ? sal_icmp(skb, pkt, SAL_EGRESS, guests) : sal_icmp(skb, pkt, SAL_INGRESS, guests);
}

SAL_NOINLINE enum sal_reason sal_without_ports(struct __sk_buff *skb, const struct sal_packet *pkt, int direction)
{
	if (!pkt)
		return SAL_REASON_NONE;
	if (sal_pod_held(skb))
		return SAL_REASON_HELD_POD;
	if (pkt->fragment == SAL_FRAGMENT_LATER)
		return direction == SAL_EGRESS ? sal_later_fragment(skb, pkt, SAL_EGRESS) :
						 sal_later_fragment(skb, pkt, SAL_INGRESS);
	return sal_pair_known(&pkt->key) ? pkt->obstacle : SAL_REASON_NONE;
}

SAL_INLINE int sal_handle(struct __sk_buff *skb, int direction)
{
	struct sal_packet pkt = {};
	enum sal_reason reason = SAL_REASON_NONE;

	switch (sal_parse(skb, &pkt, direction)) {
	case SAL_PARSED_PORTS:
		reason = sal_flow(skb, &pkt, direction);
		break;
	case SAL_PARSED_ICMP:
		reason = sal_icmp_or_hold(skb, &pkt, direction);
		break;
	case SAL_PARSED_ADDRESSES:
		reason = sal_without_ports(skb, &pkt, direction);
		break;
	case SAL_PARSED_FOREIGN:
		if (pkt.version && sal_pod_held(skb))
			reason = SAL_REASON_HELD_POD;
		break;
	}
	if (!reason)
		return SAL_PASS;
	if (reason == SAL_REROUTE)
		return sal_reroute(skb, &pkt, direction);
	return direction == SAL_EGRESS && sal_is_silent(reason) ? sal_lose(skb, reason) : sal_drop(skb, reason);
}

SEC("tc")
int sal_outbound(struct __sk_buff *skb)
{
	return sal_handle(skb, SAL_EGRESS);
}

SEC("tc")
int sal_inbound(struct __sk_buff *skb)
{
	return sal_handle(skb, SAL_INGRESS);
}

/* Into the object's type information, for the codec: enums that no map or function mentions. */
const enum sal_limit sal_type_limit __attribute__((used)) = SAL_ABI_VERSION;
const enum sal_direction sal_type_direction __attribute__((used)) = SAL_EGRESS;
const enum sal_state sal_type_state __attribute__((used)) = SAL_STATE_NONE;
const enum sal_pod_flag sal_type_pod_flag __attribute__((used)) = SAL_POD_USED;
const enum sal_slot_flag sal_type_slot_flag __attribute__((used)) = SAL_SLOT_REROUTE;
const enum sal_kept sal_type_kept __attribute__((used)) = SAL_KEPT_ACK;
const struct sal_kept_packet *const sal_type_kept_packet __attribute__((used)) = 0;

char _license[] SEC("license") = "GPL";
