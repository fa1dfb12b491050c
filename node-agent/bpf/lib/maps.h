/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every map of the data plane but one (entries.h). All are pinned once and shared by the programs of all pods. */
#ifndef SAL_MAPS_H
#define SAL_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../serval_abi.h"
#include "drops.h"

/* The table's seed and size. Set by the loader. */
const volatile struct sal_config config = {};

/* Flow table, first half: hash to slot. Written by user space through mmap, one atomic store a change. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sal_bucket);
} sal_buckets SEC(".maps");

/* Flow table, second half: the rules themselves, with their counters. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sal_slot);
} sal_slots SEC(".maps");

/* The seed and the sizes, kept for the next agent. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sal_config);
} sal_config_map SEC(".maps");

/* Pods that have a program attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SAL_PODS_MAX);
	__type(key, __u32);
	__type(value, struct sal_pod);
} sal_pods SEC(".maps");

/* Address pairs with at least one rule, for packets whose ports can't be read. The value means nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAL_SLOTS_MAX);
	__type(key, struct sal_pair);
	__type(value, __u32);
} sal_pairs SEC(".maps");

/* Datagrams under way in fragments. The oldest goes when the map is full: its later fragments are then unknown. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct sal_fragment_key);
	__type(value, struct sal_fragment);
} sal_fragments SEC(".maps");

/* UDP sessions of tracked pods. The one that was quiet for longest goes when the map is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct sal_key);
	__type(value, struct sal_session);
} sal_sessions SEC(".maps");

/* What holds keep for the replay. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} sal_kept_packets SEC(".maps");

#endif
