/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The service table, and what sockets are resolved by. Pinned once with the others; shared by sal_connect and sal_pod. */
#ifndef SAL_SERVICE_MAPS_H
#define SAL_SERVICE_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../serval_abi.h"

/*
 * Virtual IP and port to rule. What an element refers to was written before it, and is kept for a grace period after it: a
 * reader (lib/checked.h) finds the old service or the new one, never half of each.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAL_SERVICES_MAX);
	__type(key, struct sal_endpoint);
	__type(value, struct sal_service);
} sal_services SEC(".maps");

/* Choices of all services, one after the other: numbers of replicas within their service. Written through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sal_choices);
} sal_choices SEC(".maps");

/* Replicas of all services, one after the other. Written through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sal_replica);
} sal_replicas SEC(".maps");

/* By sal_service.id. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SAL_SERVICES_MAX);
	__type(key, __u32);
	__type(value, struct sal_service_count);
} sal_service_counts SEC(".maps");

/* Network namespaces whose sockets are resolved, by cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAL_CLIENTS_MAX);
	__type(key, __u64);
	__type(value, struct sal_client);
} sal_clients SEC(".maps");

/* Which replica of a service a client is itself: its number within the service. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAL_SERVICES_MAX);
	__type(key, struct sal_own_key);
	__type(value, __u32);
} sal_own_replicas SEC(".maps");

/* Addresses that a workload has left and that nobody has got since: where it is now. Ports are 0. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAL_SERVICES_MAX);
	__type(key, struct sal_endpoint);
	__type(value, struct sal_left);
} sal_left_addresses SEC(".maps");

/*
 * What each stream asked for, by its socket's cookie; goes when it closes. When the map is full the one that was asked about
 * longest ago goes: its getpeername() says the replica. Socket storage would need no limit, but costs 1.3 us a connection of 17
 * (760 ns to make, 490 and a grace period to free).
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SAL_SOCKETS_MAX);
	__type(key, __u64);
	__type(value, struct sal_resolved);
} sal_sockets SEC(".maps");

/* Whom UDP sockets asked. The pair that was quiet for longest goes when the map is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct sal_datagram_key);
	__type(value, struct sal_endpoint);
} sal_datagrams SEC(".maps");

/* Flows of guests to services, each way one. The one that was quiet for longest goes when the map is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sal_key);
	__type(value, struct sal_guest_flow);
} sal_guest_flows SEC(".maps");

/* Where a guest's flow is put together, one way each: the stack has no room for two. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct sal_guest_flow);
} sal_guest_scratch SEC(".maps");

/* Sockets that wait for a replica, by cookie; the value is how many of their segments were kept back. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAL_WAITING_MAX);
	__type(key, __u64);
	__type(value, __u32);
} sal_waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} sal_events SEC(".maps");

#endif
