/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a pod's entry and the programs that all pods share have in common. */
#ifndef SAL_ENTRIES_H
#define SAL_ENTRIES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../serval_abi.h"

/* TCX_NEXT and, to clsact, TC_ACT_UNSPEC: whoever comes after us sees the packet too. */
#define SAL_PASS -1

/* The shared programs, by enum sal_direction. An agent that starts puts its own here, and all pods go on with those. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} sal_programs SEC(".maps");

#endif
