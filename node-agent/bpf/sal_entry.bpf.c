// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What is attached to a pod's devices: it says which pod this is, and jumps to the programs that all pods share
 * (sal_pod.bpf.c). A kernel takes 70 ms to verify those and 0.1 ms for an entry; the jump costs 1 ns a packet, for the
 * kernel patches it into the code (docs/adr/0003-one-program-for-all-pods.md).
 */
#include <linux/pkt_cls.h>

#include "lib/entries.h"

/* Set by the loader, one instance a pod. */
const volatile __u32 pod = 0;

/* Nobody is there to translate: a packet must not leave, or arrive, as if nothing had moved. */
static __always_inline int sal_enter(struct __sk_buff *skb, int direction)
{
	skb->cb[0] = pod;
	bpf_tail_call(skb, &sal_programs, direction);
	return TC_ACT_SHOT;
}

SEC("tc")
int sal_egress(struct __sk_buff *skb)
{
	return sal_enter(skb, SAL_EGRESS);
}

SEC("tc")
int sal_ingress(struct __sk_buff *skb)
{
	return sal_enter(skb, SAL_INGRESS);
}

char _license[] SEC("license") = "GPL";
