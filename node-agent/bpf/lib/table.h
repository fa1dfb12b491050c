/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reading the flow table. A hash map of the kernel's would cost 35 to 45 ns a lookup on the machine that this was
 * measured on (helper calls are dear where returns are mitigated) and 0.5 us an update by system call; two arrays
 * cost a cache line each, without a call, and are updated by plain stores (docs/adr/0001-flow-table.md).
 */
#ifndef SAL_TABLE_H
#define SAL_TABLE_H

#include "hash.h"
#include "maps.h"
#include "packet.h"

SAL_INLINE bool sal_same_key(const struct sal_key *a, const struct sal_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

/* Bytes of `tags` that equal `tag` have their top bit set in the result; others may too, seldom (a borrow). */
SAL_INLINE __u64 sal_match_tags(__u64 tags, __u8 tag)
{
	__u64 x = tags ^ tag * 0x0101010101010101ULL;

	return (x - 0x0101010101010101ULL) & ~x & 0x8080808080808080ULL;
}

/* The rule for this key, or NULL; `index` then names its slot. The key must be aligned to 8 bytes. */
SAL_INLINE struct sal_slot *sal_find(const struct sal_key *key, __u8 version, __u32 *index)
{
	__u64 prefixes = version == 4 ? config.mapped_prefixes : sal_hash_prefixes(&key->tuple, config.seed);
	__u32 hash = sal_hash(key, config.seed, prefixes);
	__u32 where = hash & config.bucket_mask;
	__u8 tag = sal_hash_tag(hash);
	struct sal_bucket *bucket = bpf_map_lookup_elem(&sal_buckets, &where);
	__u64 low, high;

	if (!bucket)
		return NULL;
	/* One load each: user space may change a way at any moment. */
	low = sal_match_tags(((volatile __u64 *)bucket->tag)[0], tag);
	high = sal_match_tags(((volatile __u64 *)bucket->tag)[1], tag);
	if (!(low | high))
		return NULL;
	for (int way = 0; way < SAL_BUCKET_WAYS; way++) {
		struct sal_slot *slot;

		if (!((way < 8 ? low >> (way * 8) : high >> (way * 8 - 64)) & 0x80))
			continue;
		*index = *(volatile __u32 *)&bucket->slot[way];
		slot = bpf_map_lookup_elem(&sal_slots, index);
		if (slot && sal_same_key(&slot->match, key))
			return slot;
	}
	return NULL;
}

SAL_INLINE void sal_count(struct sal_slot *slot, struct __sk_buff *skb)
{
	__sync_fetch_and_add(&slot->packets, 1);
	__sync_fetch_and_add(&slot->bytes, skb->len);
}

/* Is there any rule between these two addresses? Asked only where ports can't be read. */
SAL_INLINE bool sal_pair_known(const struct sal_key *key)
{
	struct sal_pair pair = { .pod = key->scope.pod, .direction = key->scope.direction };

	sal_copy_address(pair.local, key->tuple.local);
	sal_copy_address(pair.remote, key->tuple.remote);
	return bpf_map_lookup_elem(&sal_pairs, &pair) != NULL;
}

#endif
