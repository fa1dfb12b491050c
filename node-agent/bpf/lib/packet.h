/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the other parts know about the packet in hand, and the small arithmetic that they share. */
#ifndef SAL_PACKET_H
#define SAL_PACKET_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../serval_abi.h"

#define SAL_INLINE static __always_inline
/*
 * Off the common packet's path, and global: the verifier then checks a function once and for itself, not once for every
 * path that leads to it (340 ms for each program, 35 ms like this). So each checks the pointers that it is given.
 */
#define SAL_NOINLINE __noinline

#define MAPPED_PREFIX bpf_htonl(0xffff)
#define IP_FRAGMENT_MORE bpf_htons(0x2000)
#define IP_FRAGMENT_OFFSET bpf_htons(0x1fff)

/* Instead of a reason: translated, and to be routed anew. */
#define SAL_REROUTE 0x100

/* Ethernet with up to two tags: the verifier wants to see how far a header can lie. */
#define SAL_L3_MAX (ETH_HLEN + 2 * 4)
#define SAL_L4_DIRECT_MAX 128

enum sal_fragment_kind {
	SAL_WHOLE,
	SAL_FRAGMENT_FIRST,
	SAL_FRAGMENT_LATER,
};

struct sal_packet {
	struct sal_key key; /* as the flow table knows it, direction included */
	__u32 fragment_id;
	__u16 l3; /* offset of the IP header */
	__u16 l4; /* offset of the transport header */
	__u8 version; /* 4 or 6 */
	__u8 protocol; /* of the last header in the chain */
	__u8 fragment; /* enum sal_fragment_kind */
	__u8 obstacle; /* enum sal_reason: why this packet can't be translated, should it belong to a flow */
	__u8 fragment_protocol; /* IPv4 tells datagrams apart by it too; 0 for IPv6, whose fragments may differ in it */
} __attribute__((aligned(8)));

/* Whose packet it is: the pod's entry has said so (sal_entry.bpf.c). */
SAL_INLINE __u32 sal_pod_id(const struct __sk_buff *skb)
{
	return skb->cb[0];
}

/* How long the packet is from its IP header on, without the padding of short Ethernet frames and devices' trailers. */
SAL_INLINE __u32 sal_length(struct __sk_buff *skb, const struct sal_packet *pkt)
{
	__u32 whole = skb->len - pkt->l3;
	__be16 field = 0;
	__u32 said;

	if (skb->gso_size || bpf_skb_load_bytes(skb, pkt->l3 + (pkt->version == 4 ? 2 : 4), &field, 2) < 0)
		return whole;
	said = bpf_ntohs(field) + (pkt->version == 4 ? 0 : sizeof(struct ipv6hdr));
	return said < whole && field ? said : whole;
}

/*
 * Scope and ports are written as the words that the hash reads: a word that was stored in pieces stalls its load until
 * the pieces are in the cache (5 ns of a miss, measured).
 */
SAL_INLINE void sal_set_scope(struct sal_key *key, __u32 pod, int direction, __u8 protocol)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	*(__u32 *)&key->scope = pod | (__u32)direction << 16 | (__u32)protocol << 24;
#else
	*(__u32 *)&key->scope = pod << 16 | (__u32)direction << 8 | protocol;
#endif
}

/* `ports` is the word at the start of a TCP or UDP header, which came from the local side or went to it. */
SAL_INLINE void sal_set_ports(struct sal_key *key, __u32 ports, bool from_local)
{
	*(__u32 *)&key->tuple.local_port = from_local ? ports : ports << 16 | ports >> 16;
}

SAL_INLINE void sal_map_v4(__be32 *to, __be32 address)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = MAPPED_PREFIX;
	to[3] = address;
}

SAL_INLINE void sal_copy_address(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

SAL_INLINE bool sal_same_address(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

SAL_INLINE bool sal_is_mapped(const __be32 *address)
{
	return address[0] == 0 && address[1] == 0 && address[2] == MAPPED_PREFIX;
}

/* Ones' complement: the sum is folded to 16 bits only at the end. */
SAL_INLINE __u32 sal_sum_add(__u32 sum, __u32 diff)
{
	__u64 total = (__u64)sum + diff;

	return (__u32)total + (__u32)(total >> 32);
}

SAL_INLINE __u16 sal_sum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The checksum field after what it covers has changed by `diff`. */
SAL_INLINE __u16 sal_sum_apply(__u16 field, __u32 diff)
{
	return ~sal_sum_fold(sal_sum_add((__u16)~field, diff));
}

SAL_INLINE __u32 sal_sum_diff_address(__u32 sum, const __be32 *from, const __be32 *to)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		sum = sal_sum_add(sal_sum_add(sum, ~from[i]), to[i]);
	return sum;
}

#endif
