/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rerouting. Where the flow's own stack has several devices (a host's own processes), a packet's route was chosen for
 * the identity before it was translated: it may have to leave by another device, or over another next hop on the same
 * one. What comes in has the reverse path filter ahead of it, which wants it to come from where its source is routed
 * to: there it is taken.
 */
#ifndef SAL_REROUTE_H
#define SAL_REROUTE_H

#include "entries.h"
#include "packet.h"

/* As the host's own packets are looked up, in all its tables: by the loopback device, which has this number everywhere. */
#define SAL_LOOPBACK 1

/* The route from the packet's source to its destination; the other way round with `back`. */
SAL_INLINE long sal_route(struct __sk_buff *skb, const struct sal_packet *pkt, struct bpf_fib_lookup *route, bool back)
{
	__be16 ports[2] = {};

	route->ifindex = SAL_LOOPBACK;
	route->l4_protocol = pkt->protocol;
	if (pkt->fragment == SAL_WHOLE && (pkt->protocol == IPPROTO_TCP || pkt->protocol == IPPROTO_UDP))
		bpf_skb_load_bytes(skb, pkt->l4, ports, sizeof(ports));
	route->sport = ports[back];
	route->dport = ports[!back];
	if (pkt->version == 4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, pkt->l3, &ip, sizeof(ip)) < 0)
			return -1;
		route->family = 2; /* AF_INET */
		route->ipv4_src = back ? ip.daddr : ip.saddr;
		route->ipv4_dst = back ? ip.saddr : ip.daddr;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, pkt->l3, &ip, sizeof(ip)) < 0)
			return -1;
		route->family = 10; /* AF_INET6 */
		sal_copy_address(route->ipv6_src, (back ? &ip.daddr : &ip.saddr)->in6_u.u6_addr32);
		sal_copy_address(route->ipv6_dst, (back ? &ip.saddr : &ip.daddr)->in6_u.u6_addr32);
	}
	return bpf_fib_lookup(skb, route, sizeof(*route), 0);
}

SAL_INLINE bool sal_same_hop(const __u16 *a, const __u16 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

/* Send a translated packet where its new destination is. */
SAL_INLINE int sal_reroute_out(struct __sk_buff *skb, const struct sal_packet *pkt)
{
	struct bpf_fib_lookup route = {};
	__u16 hop[ETH_ALEN / 2] = {};
	long found = sal_route(skb, pkt, &route, false);

	/* A stack that forwards nothing, a pod's, as a rule has one device: what may change is the next hop. */
	if (found == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return SAL_PASS;
	bpf_skb_load_bytes(skb, 0, hop, sizeof(hop));
	if (found == BPF_FIB_LKUP_RET_SUCCESS && route.ifindex == skb->ifindex &&
	    sal_same_hop(hop, (const __u16 *)route.dmac))
		return SAL_PASS;
	/*
	 * The next hop that was found is not named: the packet would keep its old route, and once it had waited for a hardware
	 * address it would leave with those of the old next hop.
	 */
	return bpf_redirect_neigh(route.ifindex, NULL, 0, 0);
}

/* Let a packet that now bears the address of before come in where packets from there come in. */
SAL_INLINE int sal_reroute_in(struct __sk_buff *skb, const struct sal_packet *pkt)
{
	struct bpf_fib_lookup route = {};

	if (sal_route(skb, pkt, &route, true) != BPF_FIB_LKUP_RET_SUCCESS || route.ifindex == skb->ifindex)
		return SAL_PASS;
	/* That device takes in what is for its own hardware address. */
	if (bpf_skb_store_bytes(skb, 0, route.smac, ETH_ALEN, 0) < 0)
		return SAL_PASS;
	return bpf_redirect(route.ifindex, BPF_F_INGRESS);
}

SAL_NOINLINE int sal_reroute(struct __sk_buff *skb, const struct sal_packet *pkt, int direction)
{
	/* Redirection knows no tags in the frame. */
	if (!pkt || pkt->l3 != ETH_HLEN)
		return SAL_PASS;
	return direction == SAL_EGRESS ? sal_reroute_out(skb, pkt) : sal_reroute_in(skb, pkt);
}

#endif
