/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Values of hash maps that are replaced while they are read. The kernel takes a new element for each update, puts it before
 * the old one and takes that out, and from 6.1 on the very next update may write another key and value into the old one,
 * whoever is reading it (its allocator waits for no grace period). Seen within seconds by a reader in a loop: one service's
 * choices with another one's replicas. So each value carries a check of its key and of itself: what fails it is looked up
 * again. And a look-up that begins before the new element is put and comes by after the old one is out finds neither: who
 * finds nothing looks twice.
 */
#ifndef SAL_CHECKED_H
#define SAL_CHECKED_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../serval_abi.h"
#include "packet.h"

/* Each is another change in the few nanoseconds of a look-up. */
#define SAL_LOOK_UPS 8
#define SAL_MISSES 2

typedef __u32 __attribute__((may_alias)) sal_word;

#define SAL_WORDS(type) (sizeof(type) / sizeof(sal_word))

/* datapath/services/encode.ts does the same. */
SAL_INLINE __u32 sal_check_word(__u32 check, __u32 word)
{
	check = (check ^ word) * 0x9e3779b1;
	return check << 13 | check >> 19;
}

/* `map` has values of this many words, the last of which is the check. False where it has none for this key. */
SAL_INLINE bool sal_find_checked(void *map, const struct sal_endpoint *key, void *value, __u32 words)
{
	__u32 check, of_key = 0, misses = 0, i, at;
	const volatile sal_word *found;
	sal_word *copy = value;

	for (at = 0; at < SAL_WORDS(*key); at++)
		of_key = sal_check_word(of_key, ((const sal_word *)key)[at]);
	for (i = 0; i < SAL_LOOK_UPS; i++) {
		found = bpf_map_lookup_elem(map, key);
		if (!found) {
			if (++misses == SAL_MISSES)
				return false;
			continue;
		}
		check = of_key;
		for (at = 0; at < words - 1; at++) {
			copy[at] = found[at];
			check = sal_check_word(check, copy[at]);
		}
		if (check == found[words - 1])
			return true;
	}
	return false;
}

#endif
