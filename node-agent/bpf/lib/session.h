/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sessions of unconnected UDP. Its sockets name no peers, so where a service asks for its mobility the pod's datagrams
 * themselves tell who talks to it: by identity, seen from the pod, whichever way they go.
 */
#ifndef SAL_SESSION_H
#define SAL_SESSION_H

#include "maps.h"
#include "packet.h"

SAL_NOINLINE int sal_note_session(const struct sal_packet *pkt, const struct sal_slot *slot)
{
	struct sal_session fresh = { .last_seen_ns = bpf_ktime_get_coarse_ns() };
	struct sal_session *known;
	struct sal_key key;

	if (!pkt)
		return 0;
	key = pkt->key;
	if (slot && pkt->key.scope.direction == SAL_INGRESS)
		key.tuple = slot->to;
	sal_set_scope(&key, pkt->key.scope.pod, SAL_EGRESS, IPPROTO_UDP);
	known = bpf_map_lookup_elem(&sal_sessions, &key);
	if (known)
		known->last_seen_ns = fresh.last_seen_ns;
	else
		bpf_map_update_elem(&sal_sessions, &key, &fresh, BPF_ANY);
	return 0;
}

#endif
