/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP and ICMPv6 errors. They quote the packet that they are about, and the quoted packet's sender looks up its
 * socket by that quote: the quote is translated with the error, so that path MTU discovery and "port unreachable"
 * work through a translation. An ingress error quotes what the pod sent (wire); an egress error what it got.
 */
#ifndef SAL_ICMP_H
#define SAL_ICMP_H

#include "packet.h"
#include "parse.h"
#include "rewrite.h"
#include "service_maps.h"
#include "table.h"

#define ICMP_HEADER 8

SAL_INLINE bool sal_is_error(__u8 version, __u8 type)
{
	/* Unreachable, time exceeded, parameter problem; version 6: types 1 to 4, packet too big among them. Redirects
	 * tell about a location, not about a flow: they concern the wire addresses and pass as they are. */
	return version == 4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

SAL_INLINE bool sal_is_neighbour_discovery(__u8 type)
{
	return type >= 133 && type <= 137;
}

/*
 * Read the quoted headers, which go as far as `end`. False: nothing that a rule could know; `obstacle` then says what is
 * missing.
 */
SAL_INLINE bool sal_parse_quote(struct __sk_buff *skb, const struct sal_packet *pkt, struct sal_packet *quoted,
				__u32 end, int direction)
{
	/* The quoted packet travelled the other way. */
	int quoted_direction = direction == SAL_EGRESS ? SAL_INGRESS : SAL_EGRESS;
	__u32 ports;

	quoted->l3 = pkt->l4 + ICMP_HEADER;
	quoted->version = pkt->version;
	if (pkt->version == 4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, quoted->l3, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5)
			return false;
		sal_orient_v4(quoted, &ip, quoted_direction);
		quoted->protocol = ip.protocol;
		quoted->l4 = quoted->l3 + ip.ihl * 4;
		if (ip.frag_off & IP_FRAGMENT_OFFSET)
			quoted->fragment = SAL_FRAGMENT_LATER;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, quoted->l3, &ip, sizeof(ip)) < 0 || ip.version != 6)
			return false;
		sal_orient_v6(quoted, &ip, quoted_direction);
		if (sal_carries_mapped(quoted))
			return false;
		quoted->l4 = quoted->l3 + sizeof(ip);
		if (!sal_walk_extensions(skb, quoted, ip.nexthdr)) {
			if (quoted->obstacle == SAL_REASON_TRUNCATED)
				quoted->obstacle = SAL_REASON_QUOTE_TRUNCATED;
			return false;
		}
	}
	sal_set_scope(&quoted->key, sal_pod_id(skb), direction, quoted->protocol);
	if (quoted->fragment == SAL_FRAGMENT_LATER) {
		quoted->obstacle = sal_may_have_ports(quoted->protocol) ? SAL_REASON_QUOTE_FRAGMENT : SAL_REASON_NONE;
		return false;
	}
	if (quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP) {
		quoted->obstacle = SAL_REASON_NONE;
		return false;
	}
	if (quoted->l4 + sizeof(ports) > end || bpf_skb_load_bytes(skb, quoted->l4, &ports, sizeof(ports)) < 0) {
		quoted->obstacle = SAL_REASON_QUOTE_TRUNCATED;
		return false;
	}
	sal_set_ports(&quoted->key, ports, quoted_direction == SAL_EGRESS);
	return true;
}

/* Write source and destination at `offset`, both 4 or both 16 bytes long. */
SAL_INLINE long sal_store_addresses(struct __sk_buff *skb, const struct sal_packet *at, const __be32 *source,
				    const __be32 *destination)
{
	__be32 both[8];

	if (at->version == 4) {
		both[0] = source[3];
		both[1] = destination[3];
		return bpf_skb_store_bytes(skb, at->l3 + offsetof(struct iphdr, saddr), both, 8, 0);
	}
	sal_copy_address(both, source);
	sal_copy_address(both + 4, destination);
	return bpf_skb_store_bytes(skb, at->l3 + offsetof(struct ipv6hdr, saddr), both, 32, 0);
}

/* Change a checksum field inside the packet by `diff`. */
SAL_INLINE long sal_adjust_checksum(struct __sk_buff *skb, __u32 offset, __u32 diff)
{
	__u16 field;

	if (bpf_skb_load_bytes(skb, offset, &field, 2) < 0)
		return -1;
	field = sal_sum_apply(field, diff);
	return bpf_skb_store_bytes(skb, offset, &field, 2, 0);
}

/*
 * Rewrite the quoted packet, which goes as far as `end`. Its IPv4 header checksum evens out its addresses; its transport
 * checksum, where the quote reaches that far, evens out addresses and ports: what is left over goes into `diff` for the
 * ICMP checksum.
 */
SAL_INLINE enum sal_reason sal_rewrite_quote(struct __sk_buff *skb, const struct sal_packet *quoted,
					     const struct sal_slot *slot, __u32 end, int direction, __u32 *diff)
{
	int quoted_direction = direction == SAL_EGRESS ? SAL_INGRESS : SAL_EGRESS;
	__u32 both = sal_sum_add(slot->address_diff, slot->port_diff);
	bool udp = quoted->protocol == IPPROTO_UDP;
	__u32 checksum_at = quoted->l4 + (udp ? 6 : 16);
	__be16 ports[2];
	__u16 field = 0;

	if (sal_store_addresses(skb, quoted, sal_source(&slot->to, quoted_direction),
				sal_destination(&slot->to, quoted_direction)) < 0)
		return SAL_REASON_REWRITE_FAILED;
	if (quoted->version == 4 && sal_adjust_checksum(skb, quoted->l3 + offsetof(struct iphdr, check), slot->address_diff) < 0)
		return SAL_REASON_REWRITE_FAILED;
	sal_wire_ports(slot, quoted_direction, ports);
	if (bpf_skb_store_bytes(skb, quoted->l4, ports, sizeof(ports), 0) < 0)
		return SAL_REASON_REWRITE_FAILED;
	*diff = quoted->version == 4 ? slot->port_diff : both;
	if (checksum_at + sizeof(field) > end || bpf_skb_load_bytes(skb, checksum_at, &field, 2) < 0 || (udp && field == 0))
		return SAL_REASON_NONE;
	*diff = sal_sum_add(*diff, ~both);
	field = sal_sum_apply(field, both);
	/* 0 would say that the datagram had none; to the sum both are the same. */
	if (udp && field == 0)
		field = 0xffff;
	return bpf_skb_store_bytes(skb, checksum_at, &field, 2, 0) < 0 ? SAL_REASON_REWRITE_FAILED : SAL_REASON_NONE;
}

/* The outer addresses: the pod's own side always, the far side only where the error comes from (goes to) the flow's end. */
SAL_INLINE enum sal_reason sal_rewrite_error_header(struct __sk_buff *skb, const struct sal_packet *pkt,
						    const struct sal_slot *slot, int direction, __u32 diff)
{
	const struct sal_tuple *now = &pkt->key.tuple;
	const __be32 *local = sal_same_address(now->local, slot->match.tuple.local) ? slot->to.local : now->local;
	const __be32 *remote = sal_same_address(now->remote, slot->match.tuple.remote) ? slot->to.remote : now->remote;
	__u32 header_diff = sal_sum_diff_address(sal_sum_diff_address(0, now->local, local), now->remote, remote);

	if (pkt->version == 6)
		diff = sal_sum_add(diff, header_diff); /* ICMPv6's checksum covers a pseudo header */
	if (sal_adjust_checksum(skb, pkt->l4 + 2, diff) < 0)
		return SAL_REASON_REWRITE_FAILED;
	if (pkt->version == 4 && sal_adjust_checksum(skb, pkt->l3 + offsetof(struct iphdr, check), header_diff) < 0)
		return SAL_REASON_REWRITE_FAILED;
	if (sal_store_addresses(skb, pkt, direction == SAL_EGRESS ? local : remote, direction == SAL_EGRESS ? remote : local) < 0)
		return SAL_REASON_REWRITE_FAILED;
	return SAL_REASON_NONE;
}

/* An ICMP packet: SAL_REASON_NONE lets it pass, translated where it is an error about a translated flow. */
SAL_INLINE enum sal_reason sal_icmp(struct __sk_buff *skb, const struct sal_packet *pkt, int direction, bool guests)
{
	struct sal_packet quoted = {};
	enum sal_reason reason;
	struct sal_slot *slot;
	__u32 index, diff = 0, end;
	__u8 type;

	if (bpf_skb_load_bytes(skb, pkt->l4, &type, 1) < 0 || !sal_is_error(pkt->version, type))
		return SAL_REASON_NONE;
	end = pkt->l3 + sal_length(skb, pkt);
	if (!sal_parse_quote(skb, pkt, &quoted, end, direction)) {
		sal_set_scope(&quoted.key, sal_pod_id(skb), direction, 0);
		return quoted.obstacle && sal_pair_known(&quoted.key) ? quoted.obstacle : SAL_REASON_NONE;
	}
	slot = sal_find(&quoted.key, pkt->version, &index);
	if (!slot && guests)
		slot = bpf_map_lookup_elem(&sal_guest_flows, &quoted.key);
	if (!slot || slot->state == SAL_STATE_PENDING)
		return SAL_REASON_NONE;
	/* An error told to somebody else than the end that sent the packet is none that the stack would believe. */
	if (direction == SAL_INGRESS && !sal_same_address(pkt->key.tuple.local, slot->match.tuple.local))
		return SAL_REASON_NONE;
	if (slot->state == SAL_STATE_HELD)
		return SAL_REASON_HELD;
	/* That its first replica can't be reached would end a connection that another one has by now. */
	if (slot->state == SAL_STATE_REFUSED)
		return SAL_REASON_GIVEN_UP;
	if (pkt->fragment != SAL_WHOLE)
		return SAL_REASON_QUOTE_FRAGMENT;
	if (pkt->obstacle || quoted.obstacle)
		return pkt->obstacle ? pkt->obstacle : quoted.obstacle;
	sal_count(slot, skb);
	reason = sal_rewrite_quote(skb, &quoted, slot, end, direction, &diff);
	if (!reason)
		reason = sal_rewrite_error_header(skb, pkt, slot, direction, diff);
	return reason ? reason : sal_translated(slot);
}

#endif
