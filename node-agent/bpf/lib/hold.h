/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hold: a flow's packets are kept back while its far end is frozen. TCP sends again what it loses, but only when a
 * timer runs out; so what it would send first goes to user space, which replays it at the switch: the segment with
 * the lowest sequence number, the first ones behind it and the newest, the newest acknowledgement, a reset. Datagrams
 * have nobody who sends them again: each goes to user space, which keeps a bounded number.
 */
#ifndef SAL_HOLD_H
#define SAL_HOLD_H

#include "maps.h"
#include "packet.h"

SAL_INLINE bool sal_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/*
 * Copy `length` bytes from the IP header on into a reserved record. Verifiers of older kernels don't conclude from
 * "not 0" that a number is at least 1; counting from the last byte, out of the compiler's reach, they do.
 */
SAL_INLINE long sal_copy_packet(struct __sk_buff *skb, const struct sal_packet *pkt, __u8 *to, __u32 length, __u32 room)
{
	__u32 last = length - 1;

	asm volatile("" : "+r"(last));
	if (last >= room)
		return -1;
	return bpf_skb_load_bytes(skb, pkt->l3, to, last + 1);
}

SAL_INLINE enum sal_reason sal_emit(struct __sk_buff *skb, const struct sal_packet *pkt,
				    const struct sal_kept_packet *header, __u32 length)
{
	struct {
		struct sal_kept_packet header;
		__u8 data[SAL_KEEP_SMALL];
	} *small;
	struct {
		struct sal_kept_packet header;
		__u8 data[SAL_KEEP_MAX];
	} *large;

	if (length > SAL_KEEP_MAX)
		return SAL_REASON_HELD_TOO_LONG;
	/* The verifier wants constant sizes: two of them, so that a small packet doesn't take a jumbo frame's room. */
	if (length <= SAL_KEEP_SMALL) {
		small = bpf_ringbuf_reserve(&sal_kept_packets, sizeof(*small), 0);
		if (!small)
			return SAL_REASON_HELD_RING_FULL;
		small->header = *header;
		if (sal_copy_packet(skb, pkt, small->data, length, SAL_KEEP_SMALL) < 0) {
			bpf_ringbuf_discard(small, 0);
			return SAL_REASON_TRUNCATED;
		}
		bpf_ringbuf_submit(small, 0);
		return SAL_REASON_HELD;
	}
	large = bpf_ringbuf_reserve(&sal_kept_packets, sizeof(*large), 0);
	if (!large)
		return SAL_REASON_HELD_RING_FULL;
	large->header = *header;
	if (sal_copy_packet(skb, pkt, large->data, length, SAL_KEEP_MAX) < 0) {
		bpf_ringbuf_discard(large, 0);
		return SAL_REASON_TRUNCATED;
	}
	bpf_ringbuf_submit(large, 0);
	return SAL_REASON_HELD;
}

/* Behind the lowest segment that was kept: it helps as long as there are not many of them. */
SAL_INLINE bool sal_is_later(const struct sal_slot *slot, const struct sal_kept_packet *header)
{
	return (slot->kept & SAL_KEPT_SEGMENT) && sal_before(slot->kept_seq, header->seq);
}

/* What this segment is worth to the replay, 0 for nothing. */
SAL_INLINE __u8 sal_worth_keeping(const struct sal_slot *slot, const struct sal_kept_packet *header)
{
	__u8 flags = header->tcp_flags;
	__u32 space = header->payload + !!(flags & 0x02) + !!(flags & 0x01);
	/* A probe repeats one byte that was acknowledged long ago; a byte that an application wrote is pushed. */
	bool probe = header->payload == 1 && space == 1 && !(flags & 0x08);

	if (flags & 0x04)
		return SAL_KEPT_RESET;
	/* Sent again, with a timestamp of its own: replaying the first copy would make TCP believe that its timer was wrong. */
	if (space > 0 && !probe)
		return sal_is_later(slot, header) && slot->kept_later >= SAL_KEEP_LATER ? 0 : SAL_KEPT_SEGMENT;
	/* As new counts too: it may open the window. */
	return (slot->kept & SAL_KEPT_ACK) && sal_before(header->ack, slot->kept_ack) ? 0 : SAL_KEPT_ACK;
}

/* Only once the ring buffer has it: what found no room there is welcome when it is sent again. */
SAL_INLINE void sal_note_kept(struct sal_slot *slot, const struct sal_kept_packet *header)
{
	if (header->kind == SAL_KEPT_SEGMENT && sal_is_later(slot, header))
		slot->kept_later++;
	else if (header->kind == SAL_KEPT_SEGMENT)
		slot->kept_seq = header->seq;
	else if (header->kind == SAL_KEPT_ACK)
		slot->kept_ack = header->ack;
	slot->kept |= header->kind;
}

/* Fill in what TCP's header says. Returns the offset of the payload from the IP header on, 0 where it is cut off. */
SAL_INLINE __u32 sal_describe_segment(struct __sk_buff *skb, const struct sal_packet *pkt,
				      struct sal_kept_packet *header, __u32 length)
{
	__u8 tcp[14];
	__u32 at;

	if (bpf_skb_load_bytes(skb, pkt->l4, tcp, sizeof(tcp)) < 0)
		return 0;
	at = pkt->l4 - pkt->l3 + (tcp[12] >> 4) * 4;
	if ((tcp[12] >> 4) * 4 < sizeof(struct tcphdr) || at > length)
		return 0;
	header->seq = (__u32)tcp[4] << 24 | (__u32)tcp[5] << 16 | (__u32)tcp[6] << 8 | tcp[7];
	header->ack = (__u32)tcp[8] << 24 | (__u32)tcp[9] << 16 | (__u32)tcp[10] << 8 | tcp[11];
	header->tcp_flags = tcp[13];
	header->payload = length - at;
	return at;
}

SAL_INLINE void sal_kept_header(struct sal_kept_packet *header, const struct sal_packet *pkt, __u64 flow_id)
{
	header->time_ns = bpf_ktime_get_ns();
	header->flow_id = flow_id;
	header->key = pkt->key;
	header->transport = pkt->l4 - pkt->l3;
}

/* A packet of a held flow. Never returns SAL_REASON_NONE. */
SAL_NOINLINE enum sal_reason sal_hold(struct __sk_buff *skb, const struct sal_packet *pkt, struct sal_slot *slot)
{
	struct sal_kept_packet header = {};
	enum sal_reason reason;
	__u32 length, payload_at;

	if (!slot || !pkt || pkt->key.scope.direction == SAL_INGRESS)
		return SAL_REASON_HELD;
	if (pkt->fragment != SAL_WHOLE)
		return SAL_REASON_HELD_FRAGMENT;
	length = sal_length(skb, pkt);
	sal_kept_header(&header, pkt, slot->flow_id);
	if (pkt->protocol == IPPROTO_TCP) {
		payload_at = sal_describe_segment(skb, pkt, &header, length);
		if (!payload_at)
			return SAL_REASON_TRUNCATED;
		header.kind = sal_worth_keeping(slot, &header);
		if (!header.kind)
			return SAL_REASON_HELD;
		if (skb->gso_size && length > payload_at + skb->gso_size)
			length = payload_at + skb->gso_size;
		/* A stream may be cut anywhere: better a part of the first segment than none. */
		if (length > SAL_KEEP_MAX)
			length = SAL_KEEP_MAX;
	} else if (skb->gso_size) {
		/* Several datagrams in one packet, or one that will be cut into fragments: nobody here could tell. */
		return SAL_REASON_HELD_FRAGMENT;
	} else if (length < header.transport + sizeof(struct udphdr)) {
		return SAL_REASON_TRUNCATED;
	}
	header.length = length;
	reason = sal_emit(skb, pkt, &header, length);
	if (reason == SAL_REASON_HELD)
		sal_note_kept(slot, &header);
	return reason;
}

/*
 * A packet to or from a pod that is held as a whole (nothing passes), or quiesced (what opens no connection passes), no
 * rule knowing its flow. New connections are kept, so that they are answered at the switch rather than after a timer.
 */
SAL_NOINLINE enum sal_reason sal_hold_pod(struct __sk_buff *skb, const struct sal_packet *pkt, __u32 flags)
{
	enum sal_reason otherwise = flags & SAL_POD_HELD ? SAL_REASON_HELD_POD : SAL_REASON_NONE;
	struct sal_kept_packet header = {};
	enum sal_reason reason;
	__u32 length;

	if (!pkt || pkt->protocol != IPPROTO_TCP)
		return otherwise;
	length = sal_length(skb, pkt);
	sal_kept_header(&header, pkt, 0);
	if (!sal_describe_segment(skb, pkt, &header, length) || (header.tcp_flags & 0x12) != 0x02)
		return otherwise;
	reason = SAL_REASON_HELD;
	/* A piece can't be replayed, nor what nobody could translate: TCP sends it again. */
	if (pkt->fragment == SAL_WHOLE && !pkt->obstacle) {
		header.kind = SAL_KEPT_SEGMENT;
		header.length = length;
		reason = sal_emit(skb, pkt, &header, length);
	}
	if (reason != SAL_REASON_HELD)
		return reason;
	return otherwise ? otherwise : SAL_REASON_HELD_NEW;
}

#endif
