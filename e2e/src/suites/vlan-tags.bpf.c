// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * For a test: tags on all that leaves a device, before the programs under test see it, and off again behind them. What
 * a VLAN subinterface does, on kernels that have none. -1 is TCX_NEXT and, to clsact, TC_ACT_UNSPEC.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* The tag stays in the packet's metadata, as for a device that inserts it itself. */
SEC("tc")
int tag_once(struct __sk_buff *skb)
{
	return bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 100) < 0 ? TC_ACT_SHOT : -1;
}

/* The first tag goes into the frame, the second into the metadata. */
SEC("tc")
int tag_twice(struct __sk_buff *skb)
{
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 100) < 0)
		return TC_ACT_SHOT;
	return bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021AD), 10) < 0 ? TC_ACT_SHOT : -1;
}

SEC("tc")
int untag(struct __sk_buff *skb)
{
	for (int i = 0; i < 2 && skb->vlan_present; i++)
		if (bpf_skb_vlan_pop(skb) < 0)
			return TC_ACT_SHOT;
	return -1;
}

char _license[] SEC("license") = "GPL";
