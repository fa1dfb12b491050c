// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the benchmark compares with: a program that does nothing, and one that makes each packet another one. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

#define PASS -1

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	return PASS;
}

/* Whom bench_vary hands the packet to. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} bench_next SEC(".maps");

/*
 * A test run repeats with the same packet, and a miss leaves it as it is: so that each repeat misses in another bucket,
 * the ports walk through all of 2^32 pairs (a congruential generator whose state is the packet itself).
 */
SEC("tc")
int bench_vary(struct __sk_buff *skb)
{
	void *data_end = (void *)(long)skb->data_end;
	struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
	__u32 *ports = (void *)(ip + 1);

	if ((void *)(ports + 1) > data_end)
		return PASS;
	*ports = *ports * 1664525 + 1013904223;
	bpf_tail_call(skb, &bench_next, 0);
	return 2; /* TC_ACT_SHOT: nobody was there */
}

char _license[] SEC("license") = "GPL";
