// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The service access layer at connect(): a socket that names a service's virtual IP gets one of its replicas, in the
 * client's own kernel and before the first packet, and goes on believing in the virtual IP. Attached to a cgroup; whose
 * sockets are meant is told by their network namespace, since the pods of many nodes may share the root of one kernel.
 */
#include <stddef.h>

#include <bpf/bpf_core_read.h>

#include "lib/packet.h"
#include "lib/resolve.h"

/* The kernel's own, which no header for programs has. */
#define AF_INET 2
#define AF_INET6 10

#define SAL_ALLOW 1
#define SAL_REFUSE 0
#define SAL_ECONNREFUSED 111

SAL_INLINE int sal_refuse(void)
{
	/* Where the kernel lacks the helper this branch is dead, and the verifier never looks at it. */
	if (connect_config.set_retval)
		bpf_set_retval(-SAL_ECONNREFUSED);
	return SAL_REFUSE;
}

/* An address of a context: the verifier wants each of its fields read or written by its own place, not by a pointer. */
#define SAL_COPY_FIELDS(to, from)       \
	do {                            \
		(to)[0] = (from)[0];    \
		(to)[1] = (from)[1];    \
		(to)[2] = (from)[2];    \
		(to)[3] = (from)[3];    \
	} while (0)

/* What a system call names, as the tables have it. */
SAL_INLINE void sal_named(const struct bpf_sock_addr *ctx, struct sal_endpoint *to, int family)
{
	if (family == AF_INET) {
		sal_map_v4(to->address, ctx->user_ip4);
	} else {
		SAL_COPY_FIELDS(to->address, ctx->user_ip6);
	}
	to->port = ctx->user_port;
	to->protocol = ctx->protocol;
}

SAL_INLINE void sal_name(struct bpf_sock_addr *ctx, const struct sal_endpoint *to, int family)
{
	if (family == AF_INET) {
		ctx->user_ip4 = to->address[3];
	} else {
		SAL_COPY_FIELDS(ctx->user_ip6, to->address);
	}
	ctx->user_port = to->port;
}

/* An IPv4 socket can't go to an IPv6 replica. The agent never asks for it; without this the name would be cut off. */
SAL_INLINE bool sal_fits(const struct sal_endpoint *to, int family)
{
	return family == AF_INET6 || sal_is_mapped(to->address);
}

SAL_INLINE bool sal_is_known_protocol(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* Of a stream: what getpeername says, and by what its SYN is watched over. */
SAL_INLINE bool sal_remember_stream(struct bpf_sock_addr *ctx, const struct sal_resolved *resolved)
{
	__u64 socket = bpf_get_socket_cookie(ctx);

	return bpf_map_update_elem(&sal_sockets, &socket, resolved, BPF_ANY) == 0;
}

/* Whom a datagram socket asked, by whom it will hear from. */
SAL_INLINE void sal_remember_datagrams(__u64 socket, const struct sal_resolved *resolved)
{
	struct sal_datagram_key key = { .socket = socket };
	struct sal_endpoint *known;

	sal_copy_endpoint(&key.replica, &resolved->replica);
	known = bpf_map_lookup_elem(&sal_datagrams, &key);
	if (known && sal_same_endpoint(known, &resolved->asked))
		return;
	bpf_map_update_elem(&sal_datagrams, &key, &resolved->asked, BPF_ANY);
	sal_note_connection(resolved, 0);
}

/* Its SYNs are kept back (sal_wait) for as long as it is in the map; user space takes it out. */
SAL_INLINE bool sal_let_wait(struct bpf_sock_addr *ctx, struct sal_resolved *resolved)
{
	__u32 none = 0;

	resolved->cookie = bpf_get_socket_cookie(ctx);
	return bpf_map_update_elem(&sal_waiting, &resolved->cookie, &none, BPF_ANY) == 0;
}

struct tcp_sock___serval {
	__u8 repair : 1;
} __attribute__((preserve_access_index));

/*
 * A socket that is being restored (TCP_REPAIR) names whom it talks to already, by its identity: it must stay with that, even if
 * the far end has left that address since. Seen: both ends of a stream moved, and the second one's sockets were lost.
 */
SAL_INLINE bool sal_is_restored(struct bpf_sock_addr *ctx)
{
	struct tcp_sock___serval *tcp;

	if (ctx->protocol != IPPROTO_TCP || !ctx->sk)
		return false;
	tcp = (void *)bpf_skc_to_tcp_sock(ctx->sk);
	return tcp && BPF_CORE_READ_BITFIELD_PROBED(tcp, repair);
}

SAL_INLINE int sal_connect(struct bpf_sock_addr *ctx, int family)
{
	struct sal_resolved resolved = {};
	enum sal_resolution resolution;

	if (!sal_is_known_protocol(ctx->protocol))
		return SAL_ALLOW;
	sal_named(ctx, &resolved.asked, family);
	resolution = sal_resolve(bpf_get_netns_cookie(ctx), 0, &resolved);
	if (resolution == SAL_AS_IT_IS || sal_is_restored(ctx))
		return SAL_ALLOW;
	if (resolution == SAL_REFUSED || !sal_fits(&resolved.replica, family))
		return sal_refuse();
	if (resolution == SAL_WAITS && !sal_let_wait(ctx, &resolved))
		return sal_refuse();
	if (resolved.asked.protocol == IPPROTO_UDP)
		sal_remember_datagrams(bpf_get_socket_cookie(ctx), &resolved);
	else if (!sal_remember_stream(ctx, &resolved))
		return sal_refuse();
	sal_name(ctx, &resolved.replica, family);
	return SAL_ALLOW;
}

/* An unconnected socket's datagram. */
SAL_INLINE int sal_send(struct bpf_sock_addr *ctx, int family)
{
	__u64 socket = bpf_get_socket_cookie(ctx);
	struct sal_resolved resolved = {};
	enum sal_resolution resolution;
	__u32 stable;

	sal_named(ctx, &resolved.asked, family);
	resolved.asked.protocol = IPPROTO_UDP;
	/* Any number but 0; not an odd one only: of two choices that would always be the second. */
	stable = sal_mix(socket);
	resolution = sal_resolve(bpf_get_netns_cookie(ctx), stable ? stable : 1, &resolved);
	if (resolution == SAL_AS_IT_IS)
		return SAL_ALLOW;
	if (resolution != SAL_RESOLVED || !sal_fits(&resolved.replica, family))
		return sal_refuse();
	sal_remember_datagrams(socket, &resolved);
	sal_name(ctx, &resolved.replica, family);
	return SAL_ALLOW;
}

/* What the socket asked for, where `named` is what it got. */
SAL_INLINE const struct sal_endpoint *sal_asked(struct bpf_sock_addr *ctx, const struct sal_endpoint *named)
{
	struct sal_datagram_key key = { .socket = bpf_get_socket_cookie(ctx) };
	struct sal_resolved *kept;

	if (named->protocol == IPPROTO_UDP) {
		sal_copy_endpoint(&key.replica, named);
		return bpf_map_lookup_elem(&sal_datagrams, &key);
	}
	kept = bpf_map_lookup_elem(&sal_sockets, &key.socket);
	return kept && sal_same_endpoint(&kept->replica, named) ? &kept->asked : NULL;
}

/* A socket hears of whom it talks to by the name that it asked. */
SAL_INLINE int sal_say_asked(struct bpf_sock_addr *ctx, int family)
{
	const struct sal_endpoint *asked;
	struct sal_endpoint named = {};

	sal_named(ctx, &named, family);
	asked = sal_asked(ctx, &named);
	if (asked && sal_fits(asked, family))
		sal_name(ctx, asked, family);
	return SAL_ALLOW;
}

SEC("cgroup/connect4")
int sal_connect4(struct bpf_sock_addr *ctx)
{
	return sal_connect(ctx, AF_INET);
}

SEC("cgroup/connect6")
int sal_connect6(struct bpf_sock_addr *ctx)
{
	return sal_connect(ctx, AF_INET6);
}

SEC("cgroup/sendmsg4")
int sal_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sal_send(ctx, AF_INET);
}

SEC("cgroup/sendmsg6")
int sal_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sal_send(ctx, AF_INET6);
}

SEC("cgroup/recvmsg4")
int sal_recvmsg4(struct bpf_sock_addr *ctx)
{
	return sal_say_asked(ctx, AF_INET);
}

SEC("cgroup/recvmsg6")
int sal_recvmsg6(struct bpf_sock_addr *ctx)
{
	return sal_say_asked(ctx, AF_INET6);
}

SEC("cgroup/getpeername4")
int sal_getpeername4(struct bpf_sock_addr *ctx)
{
	return sal_say_asked(ctx, AF_INET);
}

SEC("cgroup/getpeername6")
int sal_getpeername6(struct bpf_sock_addr *ctx)
{
	return sal_say_asked(ctx, AF_INET6);
}

/* ---- the handshake of a resolved socket */

SAL_INLINE struct sal_resolved *sal_resolved_of(struct bpf_sock_ops *ops)
{
	__u64 socket = bpf_get_socket_cookie(ops);

	return bpf_map_lookup_elem(&sal_sockets, &socket);
}

SAL_INLINE void sal_local(const struct bpf_sock_ops *ops, struct sal_endpoint *local)
{
	if (ops->family == AF_INET) {
		sal_map_v4(local->address, ops->local_ip4);
	} else {
		SAL_COPY_FIELDS(local->address, ops->local_ip6);
	}
	local->port = bpf_htons(ops->local_port);
	local->protocol = IPPROTO_TCP;
}

/* What user space is told of a resolved socket, but for what only its caller knows; NULL where the ring is full. */
SAL_INLINE struct sal_event *sal_begin_event(const struct sal_resolved *resolved, __u64 socket, __u8 kind)
{
	struct sal_event *event = bpf_ringbuf_reserve(&sal_events, sizeof(*event), 0);

	if (!event)
		return NULL;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->netns = resolved->netns;
	event->socket = socket;
	event->replica = resolved->replica;
	event->asked = resolved->asked;
	event->service = resolved->service;
	event->kind = kind;
	return event;
}

/* Told once for each SYN that fails. Where the ring is full the failure is counted all the same. */
SAL_INLINE void sal_note_failed_syn(struct bpf_sock_ops *ops, const struct sal_resolved *resolved, __u8 kind, __u8 attempt)
{
	struct sal_event *event;

	sal_note_failure(resolved);
	event = sal_begin_event(resolved, bpf_get_socket_cookie(ops), kind);
	if (!event)
		return;
	sal_local(ops, &event->local);
	event->attempt = attempt;
	bpf_ringbuf_submit(event, 0);
}

SAL_INLINE int sal_syn_timeout(struct bpf_sock_ops *ops)
{
	struct sal_resolved *resolved = sal_resolved_of(ops);

	if (!resolved || !resolved->syn_timeout_ms)
		return -1;
	return (resolved->syn_timeout_ms * connect_config.hz + 999) / 1000;
}

SAL_INLINE void sal_syn_unanswered(struct bpf_sock_ops *ops)
{
	struct sal_resolved *resolved = sal_resolved_of(ops);

	/* One that waits for a replica has none that could be silent. */
	if (ops->state != BPF_TCP_SYN_SENT || !resolved || resolved->cookie)
		return;
	sal_note_failed_syn(ops, resolved, SAL_EVENT_SILENT, ops->args[0] + 1);
}

SAL_INLINE void sal_closed(struct bpf_sock_ops *ops)
{
	struct sal_resolved *resolved = sal_resolved_of(ops);
	__u64 socket = bpf_get_socket_cookie(ops);

	if (resolved && !resolved->cookie && ops->args[0] == BPF_TCP_SYN_SENT)
		sal_note_failed_syn(ops, resolved, SAL_EVENT_REFUSED, 0);
	bpf_map_delete_elem(&sal_sockets, &socket);
}

SAL_INLINE void sal_established(struct bpf_sock_ops *ops)
{
	struct sal_resolved *resolved = sal_resolved_of(ops);

	if (resolved)
		sal_note_connection(resolved, ops->srtt_us >> 3);
	bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* What of its handshake is asked about a socket that may be one of ours. */
static __noinline int sal_handshake_of(struct bpf_sock_ops *ops)
{
	int timeout;

	if (ops->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		if (sal_resolved_of(ops))
			bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_RTO_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG);
		return 1;
	}
	/* It has them from the moment at which it connects, which comes first; only a whole socket has flags. */
	if (!(ops->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG))
		return 1;

	switch (ops->op) {
	case BPF_SOCK_OPS_TIMEOUT_INIT:
		/* Of another's socket nothing is said: whoever knew it said so before us, and this field is shared. */
		timeout = sal_syn_timeout(ops);
		if (timeout > 0)
			ops->reply = timeout;
		break;
	case BPF_SOCK_OPS_RTO_CB:
		sal_syn_unanswered(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			sal_closed(ops);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		sal_established(ops);
		break;
	}
	return 1;
}

#define SAL_OPS                                                                                      \
	(1 << BPF_SOCK_OPS_TCP_CONNECT_CB | 1 << BPF_SOCK_OPS_TIMEOUT_INIT | 1 << BPF_SOCK_OPS_RTO_CB |  \
	 1 << BPF_SOCK_OPS_STATE_CB | 1 << BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)

/*
 * The kernel calls some five times for either end of every connection in the cgroup, mostly for what is none of ours: those
 * calls end here, without a look at the socket or a register saved (40 ns each are the kernel's own).
 */
SEC("sockops")
int sal_handshake(struct bpf_sock_ops *ops)
{
	__u32 op = ops->op;

	if (op > 31 || !(1U << op & SAL_OPS))
		return 1;
	return sal_handshake_of(ops);
}

/* ---- sockets that wait for a replica; attached only while a service has none */

SEC("cgroup_skb/egress")
int sal_wait(struct __sk_buff *skb)
{
	__u64 socket = bpf_get_socket_cookie(skb);
	__u32 *kept = bpf_map_lookup_elem(&sal_waiting, &socket), last;
	struct sal_resolved *resolved;
	struct sal_event *event;

	if (!kept)
		return SAL_ALLOW;
	sal_count_drop(SAL_REASON_DELAYED, skb->len);
	if (__sync_fetch_and_add(kept, 1) > 0)
		return SAL_REFUSE;
	resolved = bpf_map_lookup_elem(&sal_sockets, &socket);
	event = resolved ? sal_begin_event(resolved, socket, SAL_EVENT_WAITS) : NULL;
	if (!event) {
		*kept = 0; /* its next SYN is told of */
		return SAL_REFUSE;
	}
	/* Less one, so that the verifier sees in one comparison that it is neither 0 nor too long. */
	last = (skb->len < SAL_OPENING_MAX ? skb->len : SAL_OPENING_MAX) - 1;
	asm volatile("" : "+r"(last));
	if (last < SAL_OPENING_MAX && bpf_skb_load_bytes(skb, 0, event->opening, last + 1) == 0)
		event->length = last + 1;
	bpf_ringbuf_submit(event, 0);
	return SAL_REFUSE;
}

/* How many jiffies have gone by, for user space to find out how long one is (BPF_PROG_TEST_RUN). */
SEC("tc")
int sal_jiffies(struct __sk_buff *skb)
{
	return bpf_jiffies64();
}

/* Into the object's type information, for the codec: enums that no map or function mentions. */
const enum sal_rule sal_type_rule __attribute__((used)) = SAL_RULE_FORWARD;
const enum sal_balance sal_type_balance __attribute__((used)) = SAL_BALANCE_RANDOM;
const enum sal_service_flag sal_type_service_flag __attribute__((used)) = SAL_SERVICE_OWN;
const enum sal_event_kind sal_type_event_kind __attribute__((used)) = SAL_EVENT_SILENT;
const struct sal_event *const sal_type_event __attribute__((used)) = 0;

char _license[] SEC("license") = "GPL";
