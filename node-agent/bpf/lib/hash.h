/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The flow table's hash, compiled into the programs and into the addon: Multilinear-HM over the key's ten words,
 * which is strongly universal in its upper half (Lemire and Kaser, "Strongly universal string hashing is fast",
 * 2014). The seed is drawn at random for each node, so nobody can choose tuples that fill one bucket.
 */
#ifndef SAL_HASH_H
#define SAL_HASH_H

#include "../serval_abi.h"

#define SAL_HASH_INLINE static inline __attribute__((always_inline))

/* The part that the first three words of both addresses make: the same for all of IPv4, so it is kept in sal_config. */
SAL_HASH_INLINE __u64 sal_hash_prefixes(const struct sal_tuple *tuple, const volatile __u64 *seed)
{
	__u64 sum = seed[0];

	sum += (seed[1] + tuple->local[0]) * (seed[2] + tuple->local[1]);
	sum += (seed[3] + tuple->local[2]) * (seed[4] + tuple->remote[0]);
	sum += (seed[5] + tuple->remote[1]) * (seed[6] + tuple->remote[2]);
	return sum;
}

SAL_HASH_INLINE __u32 sal_hash(const struct sal_key *key, const volatile __u64 *seed, __u64 prefixes)
{
	const __u32 *word = (const __u32 *)key;
	__u64 sum = prefixes;

	sum += (seed[7] + word[0]) * (seed[8] + word[9]); /* scope, ports */
	sum += (seed[9] + key->tuple.local[3]) * (seed[10] + key->tuple.remote[3]);
	return sum >> 32;
}

/* The top byte tells the keys of one bucket apart, the lower bits choose it. Never 0, which is an empty way. */
SAL_HASH_INLINE __u8 sal_hash_tag(__u32 hash)
{
	return hash >> 24 | 1;
}

#endif
