/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What was given up, and why. */
#ifndef SAL_DROPS_H
#define SAL_DROPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../serval_abi.h"

/* Packets and connections given up, by reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SAL_REASONS_MAX);
	__type(key, __u32);
	__type(value, struct sal_drop);
} sal_drops SEC(".maps");

static __always_inline void sal_count_drop(__u32 reason, __u32 bytes)
{
	struct sal_drop *drop = bpf_map_lookup_elem(&sal_drops, &reason);

	if (drop) {
		drop->packets++;
		drop->bytes += bytes;
	}
}

#endif
