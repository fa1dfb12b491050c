/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Translation of a packet whose flow is known: addresses, ports, every checksum. Each function returns a reason:
 * SAL_REASON_NONE, and the packet is whole; anything else, and the caller drops it.
 */
#ifndef SAL_REWRITE_H
#define SAL_REWRITE_H

#include <bpf/bpf_core_read.h>

#include "maps.h"
#include "packet.h"

SAL_INLINE const __be32 *sal_source(const struct sal_tuple *tuple, int direction)
{
	return direction == SAL_EGRESS ? tuple->local : tuple->remote;
}

SAL_INLINE const __be32 *sal_destination(const struct sal_tuple *tuple, int direction)
{
	return direction == SAL_EGRESS ? tuple->remote : tuple->local;
}

/* Source and destination of the IP header, and IPv4's own checksum. */
SAL_INLINE enum sal_reason sal_write_addresses(struct __sk_buff *skb, const struct sal_packet *pkt,
					       const struct sal_slot *slot, int direction)
{
	void *data_end = (void *)(long)skb->data_end;
	const __be32 *source = sal_source(&slot->to, direction);
	const __be32 *destination = sal_destination(&slot->to, direction);
	__u32 l3 = pkt->l3;

	if (l3 > SAL_L3_MAX)
		return SAL_REASON_REWRITE_FAILED;
	if (pkt->version == 4) {
		struct iphdr *ip = (void *)(long)skb->data + l3;

		if ((void *)(ip + 1) > data_end)
			return SAL_REASON_REWRITE_FAILED;
		ip->saddr = source[3];
		ip->daddr = destination[3];
		ip->check = sal_sum_apply(ip->check, slot->address_diff);
	} else {
		struct ipv6hdr *ip = (void *)(long)skb->data + l3;

		if ((void *)(ip + 1) > data_end)
			return SAL_REASON_REWRITE_FAILED;
		sal_copy_address(ip->saddr.in6_u.u6_addr32, source);
		sal_copy_address(ip->daddr.in6_u.u6_addr32, destination);
	}
	return SAL_REASON_NONE;
}

SAL_INLINE void sal_wire_ports(const struct sal_slot *slot, int direction, __be16 *ports)
{
	ports[0] = direction == SAL_EGRESS ? slot->to.local_port : slot->to.remote_port;
	ports[1] = direction == SAL_EGRESS ? slot->to.remote_port : slot->to.local_port;
}

/* The helpers' way, for every kernel and for CHECKSUM_COMPLETE. */
SAL_NOINLINE enum sal_reason sal_write_transport_by_helper(struct __sk_buff *skb, const struct sal_packet *pkt,
							   const struct sal_slot *slot, int direction)
{
	__be16 ports[2];
	__u16 check = 1;
	__u32 offset;
	__u64 flags;
	bool udp;

	if (!pkt || !slot)
		return SAL_REASON_REWRITE_FAILED;
	udp = pkt->protocol == IPPROTO_UDP;
	offset = pkt->l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	/* A UDP checksum of 0 means that there is none, and must neither be made up nor come about. */
	flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
	if (slot->port_diff) {
		sal_wire_ports(slot, direction, ports);
		if (bpf_skb_store_bytes(skb, pkt->l4, ports, sizeof(ports), 0) < 0 ||
		    bpf_l4_csum_replace(skb, offset, 0, slot->port_diff, flags) < 0)
			return SAL_REASON_REWRITE_FAILED;
		/* No checksum evens out the ports: CHECKSUM_COMPLETE's sum has to know. */
		if (udp && bpf_skb_load_bytes(skb, offset, &check, sizeof(check)) == 0 && !check)
			bpf_csum_update(skb, slot->port_diff);
	}
	if (bpf_l4_csum_replace(skb, offset, 0, slot->address_diff, flags | BPF_F_PSEUDO_HDR) < 0)
		return SAL_REASON_REWRITE_FAILED;
	/*
	 * For CHECKSUM_COMPLETE the helper also takes the difference out of skb->csum, as IPv4 needs it. IPv6 has no
	 * header checksum to even that out; kernels have a flag for it since 6.16, adding it back works on all.
	 */
	if (pkt->version == 6)
		bpf_csum_update(skb, slot->address_diff);
	return SAL_REASON_NONE;
}

struct sk_buff___serval {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

#define SAL_CHECKSUM_COMPLETE 2
#define SAL_CHECKSUM_PARTIAL 3

/*
 * Ports and the transport checksum, which covers a pseudo header. The field is complete, or left to the device
 * (CHECKSUM_PARTIAL: it then holds the pseudo header's sum alone, not complemented). The kernel's helper knows which,
 * but costs 40 ns, more than all the rest of a translation; where the kernel shows its own sk_buff we look there.
 */
SAL_INLINE enum sal_reason sal_write_transport(struct __sk_buff *skb, const struct sal_packet *pkt,
					       const struct sal_slot *slot, int direction)
{
	bool udp = pkt->protocol == IPPROTO_UDP;
	__u32 l4 = pkt->l4;
	struct sk_buff___serval *kernel_skb;
	__u8 summed;
	__be16 *ports;
	__u16 *check;

	if (!config.kernel_context)
		return sal_write_transport_by_helper(skb, pkt, slot, direction);
	kernel_skb = bpf_cast_to_kern_ctx(skb);
	summed = BPF_CORE_READ_BITFIELD(kernel_skb, ip_summed);
	if (summed == SAL_CHECKSUM_COMPLETE || l4 > SAL_L4_DIRECT_MAX)
		return sal_write_transport_by_helper(skb, pkt, slot, direction);
	ports = (void *)(long)skb->data + l4;
	check = (void *)ports + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	if ((void *)(check + 1) > (void *)(long)skb->data_end)
		return sal_write_transport_by_helper(skb, pkt, slot, direction);
	if (slot->port_diff)
		sal_wire_ports(slot, direction, ports);
	if (summed == SAL_CHECKSUM_PARTIAL) {
		*check = sal_sum_fold(sal_sum_add(*check, slot->address_diff));
	} else if (!udp || *check) {
		*check = sal_sum_apply(*check, sal_sum_add(slot->address_diff, slot->port_diff));
		if (udp && !*check)
			*check = 0xffff;
	}
	return SAL_REASON_NONE;
}

/* What a translation that came out whole returns. */
SAL_INLINE enum sal_reason sal_translated(const struct sal_slot *slot)
{
	return slot->flags & SAL_SLOT_REROUTE ? SAL_REROUTE : SAL_REASON_NONE;
}

/* A whole packet or a first fragment. */
SAL_INLINE enum sal_reason sal_translate(struct __sk_buff *skb, const struct sal_packet *pkt,
					 const struct sal_slot *slot, int direction)
{
	enum sal_reason reason = sal_write_addresses(skb, pkt, slot, direction);

	if (!reason)
		reason = sal_write_transport(skb, pkt, slot, direction);
	return reason ? reason : sal_translated(slot);
}

/* A later fragment: addresses alone. Its payload has no checksum of its own to even out a change of IPv6 addresses. */
SAL_INLINE enum sal_reason sal_translate_later_fragment(struct __sk_buff *skb, const struct sal_packet *pkt,
							const struct sal_slot *slot, int direction)
{
	enum sal_reason reason = sal_write_addresses(skb, pkt, slot, direction);

	if (!reason && pkt->version == 6)
		bpf_csum_update(skb, slot->address_diff);
	return reason ? reason : sal_translated(slot);
}

#endif
