/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From an Ethernet frame to a flow table key. */
#ifndef SAL_PARSE_H
#define SAL_PARSE_H

#include "maps.h"
#include "packet.h"

#define SAL_TAGS_MAX 2
#define SAL_EXTENSIONS_MAX 8
#define SAL_LINEAR_WANTED 192
#define IP_OPTION_LSRR 131
#define IP_OPTION_SSRR 137

enum sal_parsed {
	SAL_PARSED_FOREIGN, /* never ours: not IP, or another protocol */
	SAL_PARSED_PORTS, /* the key is complete */
	SAL_PARSED_ICMP, /* ICMP of the packet's own family, at l4 */
	SAL_PARSED_ADDRESSES, /* ports can't be read: later fragment, or `obstacle` says why */
};

/* Walk IPv4 options for a source route: the pseudo header then holds another address than the IP header. */
SAL_NOINLINE bool sal_source_routed(struct __sk_buff *skb, __u32 l3, __u32 length)
{
	__u32 at = 0;

	for (int i = 0; i < 40; i++) {
		__u8 option[3] = {};

		if (at >= length)
			return false;
		/* Cut off, here or below: nobody could tell. */
		if (bpf_skb_load_bytes(skb, l3 + sizeof(struct iphdr) + at, option, sizeof(option)) < 0)
			return true;
		if (option[0] == 0)
			return false;
		if (option[0] == 1) {
			at++;
			continue;
		}
		if (option[0] == IP_OPTION_LSRR || option[0] == IP_OPTION_SSRR)
			/* The pointer has not passed the end: hops are left. */
			return at + sizeof(option) > length || option[2] <= option[1];
		if (option[1] < 2)
			return false;
		at += option[1];
	}
	return false;
}

/*
 * Follow the extension headers from pkt->l4 on, starting with `next`: leaves l4 at the transport header, notes
 * fragments and obstacles. False where the chain can't be followed to its end (obstacle says why).
 */
SAL_NOINLINE bool sal_walk_extensions(struct __sk_buff *skb, struct sal_packet *pkt, __u32 next)
{
	__u32 at;

	if (!pkt)
		return false;
	at = pkt->l4;
	for (int i = 0; i <= SAL_EXTENSIONS_MAX; i++) {
		__u8 header[8];

		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_FRAGMENT:
		case IPPROTO_AH:
		case IPPROTO_MH:
			break;
		default:
			pkt->l4 = at;
			pkt->protocol = next;
			return true;
		}
		if (i == SAL_EXTENSIONS_MAX)
			break;
		if (bpf_skb_load_bytes(skb, at, header, sizeof(header)) < 0) {
			pkt->obstacle = SAL_REASON_TRUNCATED;
			return false;
		}
		if (next == IPPROTO_ROUTING && header[3] > 0)
			pkt->obstacle = SAL_REASON_SOURCE_ROUTED;
		if (next == IPPROTO_AH)
			pkt->obstacle = SAL_REASON_AUTHENTICATED;
		if (next == IPPROTO_FRAGMENT) {
			__u16 offset = (__u16)header[2] << 8 | header[3];

			__builtin_memcpy(&pkt->fragment_id, header + 4, 4);
			if (offset & 0xfff8)
				pkt->fragment = SAL_FRAGMENT_LATER;
			else if (offset & 1)
				pkt->fragment = SAL_FRAGMENT_FIRST;
			at += 8;
			if (pkt->fragment == SAL_FRAGMENT_LATER) {
				pkt->l4 = at;
				pkt->protocol = header[0];
				return true;
			}
		} else if (next == IPPROTO_AH) {
			at += ((__u32)header[1] + 2) * 4;
		} else {
			at += ((__u32)header[1] + 1) * 8;
		}
		next = header[0];
	}
	pkt->obstacle = SAL_REASON_HEADER_CHAIN;
	return false;
}

/* May a later fragment with this in its protocol field belong to TCP or UDP? Extension headers may come before them. */
SAL_INLINE bool sal_may_have_ports(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_HOPOPTS:
	case IPPROTO_DSTOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_MH:
		return true;
	}
	return false;
}

/* Skip 802.1Q and 802.1ad tags that are still in the frame. Returns the network protocol, 0 where there are too many. */
SAL_NOINLINE __u16 sal_skip_tags(struct __sk_buff *skb, struct sal_packet *pkt)
{
	__be16 protocol = skb->protocol;

	if (!pkt)
		return 0;
	for (int i = 0; i < SAL_TAGS_MAX; i++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			return protocol;
		if (bpf_skb_load_bytes(skb, pkt->l3 + 2, &protocol, 2) < 0)
			return 0;
		pkt->l3 += 4;
	}
	return protocol;
}

SAL_INLINE void sal_orient_v4(struct sal_packet *pkt, const struct iphdr *ip, int direction)
{
	sal_map_v4(pkt->key.tuple.local, direction == SAL_EGRESS ? ip->saddr : ip->daddr);
	sal_map_v4(pkt->key.tuple.remote, direction == SAL_EGRESS ? ip->daddr : ip->saddr);
}

SAL_INLINE void sal_orient_v6(struct sal_packet *pkt, const struct ipv6hdr *ip, int direction)
{
	const __be32 *source = ip->saddr.in6_u.u6_addr32, *destination = ip->daddr.in6_u.u6_addr32;

	sal_copy_address(pkt->key.tuple.local, direction == SAL_EGRESS ? source : destination);
	sal_copy_address(pkt->key.tuple.remote, direction == SAL_EGRESS ? destination : source);
}

/* Mapped addresses stand for IPv4 in the table: a real IPv6 packet that carries one is nobody's flow. */
SAL_INLINE bool sal_carries_mapped(const struct sal_packet *pkt)
{
	return sal_is_mapped(pkt->key.tuple.local) || sal_is_mapped(pkt->key.tuple.remote);
}

/* The transport header, where the packet has one that we know: ports into the key. */
SAL_INLINE enum sal_parsed sal_parse_transport(struct __sk_buff *skb, struct sal_packet *pkt, int direction)
{
	__u32 ports;

	sal_set_scope(&pkt->key, sal_pod_id(skb), direction, pkt->protocol);
	if (pkt->fragment == SAL_FRAGMENT_LATER)
		return SAL_PARSED_ADDRESSES;
	if (pkt->protocol == (pkt->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return SAL_PARSED_ICMP;
	if (pkt->protocol != IPPROTO_TCP && pkt->protocol != IPPROTO_UDP)
		return SAL_PARSED_FOREIGN;
	if (bpf_skb_load_bytes(skb, pkt->l4, &ports, sizeof(ports)) < 0) {
		pkt->obstacle = SAL_REASON_TRUNCATED;
		return SAL_PARSED_ADDRESSES;
	}
	sal_set_ports(&pkt->key, ports, direction == SAL_EGRESS);
	return SAL_PARSED_PORTS;
}

SAL_INLINE enum sal_parsed sal_parse_v4(struct __sk_buff *skb, struct sal_packet *pkt, int direction)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, pkt->l3, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5)
		return SAL_PARSED_FOREIGN;
	sal_orient_v4(pkt, &ip, direction);
	pkt->version = 4;
	pkt->protocol = ip.protocol;
	pkt->l4 = pkt->l3 + ip.ihl * 4;
	if (ip.frag_off & (IP_FRAGMENT_MORE | IP_FRAGMENT_OFFSET)) {
		pkt->fragment = ip.frag_off & IP_FRAGMENT_OFFSET ? SAL_FRAGMENT_LATER : SAL_FRAGMENT_FIRST;
		pkt->fragment_id = ip.id;
		pkt->fragment_protocol = ip.protocol;
	}
	if (ip.ihl > 5 && sal_source_routed(skb, pkt->l3, ip.ihl * 4 - sizeof(ip)))
		pkt->obstacle = SAL_REASON_SOURCE_ROUTED;
	if (ip.protocol == IPPROTO_AH && pkt->fragment != SAL_FRAGMENT_LATER &&
	    !sal_walk_extensions(skb, pkt, IPPROTO_AH))
		return SAL_PARSED_ADDRESSES;
	return sal_parse_transport(skb, pkt, direction);
}

SAL_INLINE enum sal_parsed sal_parse_v6(struct __sk_buff *skb, struct sal_packet *pkt, int direction)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, pkt->l3, &ip, sizeof(ip)) < 0 || ip.version != 6)
		return SAL_PARSED_FOREIGN;
	sal_orient_v6(pkt, &ip, direction);
	pkt->version = 6;
	if (sal_carries_mapped(pkt))
		return SAL_PARSED_FOREIGN;
	pkt->l4 = pkt->l3 + sizeof(ip);
	if (!sal_walk_extensions(skb, pkt, ip.nexthdr))
		return SAL_PARSED_ADDRESSES;
	return sal_parse_transport(skb, pkt, direction);
}

/* Every packet that isn't common. */
SAL_NOINLINE enum sal_parsed sal_parse_rest(struct __sk_buff *skb, struct sal_packet *pkt, int direction)
{
	__be16 protocol;

	if (!pkt)
		return SAL_PARSED_FOREIGN;
	protocol = sal_skip_tags(skb, pkt);
	sal_set_scope(&pkt->key, sal_pod_id(skb), direction, 0);
	/* A driver may leave even the headers outside the linear part, where translation wants them. */
	if (skb->len > SAL_LINEAR_WANTED)
		bpf_skb_pull_data(skb, SAL_LINEAR_WANTED);
	else
		bpf_skb_pull_data(skb, skb->len);
	if (protocol == bpf_htons(ETH_P_IP))
		return sal_parse_v4(skb, pkt, direction);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return sal_parse_v6(skb, pkt, direction);
	return SAL_PARSED_FOREIGN;
}

/*
 * The common packet: TCP or UDP right behind a plain IP header, in the linear part. Read by direct access, which
 * took 5 ns where the helpers take 20 and more.
 */
SAL_INLINE bool sal_parse_common(struct __sk_buff *skb, struct sal_packet *pkt, int direction)
{
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + 4 > data_end || *(__u8 *)ip != 0x45 ||
		    (ip->frag_off & (IP_FRAGMENT_MORE | IP_FRAGMENT_OFFSET)))
			return false;
		pkt->protocol = ip->protocol;
		pkt->version = 4;
		pkt->l4 = ETH_HLEN + sizeof(*ip);
		sal_orient_v4(pkt, ip, direction);
		sal_set_ports(&pkt->key, *(__u32 *)(ip + 1), direction == SAL_EGRESS);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + 4 > data_end || ip->version != 6)
			return false;
		pkt->protocol = ip->nexthdr;
		pkt->version = 6;
		pkt->l4 = ETH_HLEN + sizeof(*ip);
		sal_orient_v6(pkt, ip, direction);
		sal_set_ports(&pkt->key, *(__u32 *)(ip + 1), direction == SAL_EGRESS);
		if (sal_carries_mapped(pkt))
			return false;
	} else {
		return false;
	}
	sal_set_scope(&pkt->key, sal_pod_id(skb), direction, pkt->protocol);
	return pkt->protocol == IPPROTO_TCP || pkt->protocol == IPPROTO_UDP;
}

SAL_INLINE enum sal_parsed sal_parse(struct __sk_buff *skb, struct sal_packet *pkt, int direction)
{
	pkt->l3 = ETH_HLEN;
	if (sal_parse_common(skb, pkt, direction))
		return SAL_PARSED_PORTS;
	return sal_parse_rest(skb, pkt, direction);
}

#endif
