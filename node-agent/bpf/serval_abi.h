/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the kernel's half and user space's half of the data plane agree on: constants and structs, nothing
 * else. The TypeScript codec is generated from the BTF of the compiled object, never written by hand.
 *
 * Addresses are 16 bytes in network order, IPv4 mapped (::ffff:a.b.c.d); ports are in network order. "Local"
 * is always the pod's own side, whichever way a packet travels.
 */
#ifndef SERVAL_ABI_H
#define SERVAL_ABI_H

/* An enum rather than macros: only types reach the object's type information, and so the codec. */
enum sal_limit {
	SAL_ABI_VERSION = 4, /* raised whenever a pinned map of an older agent can't be read any more */
	SAL_PODS_MAX = 1024,
	SAL_DEVICES_MAX = 32, /* of one pod */
	SAL_SLOTS_MAX = 1 << 20, /* slot 0 is never used */
	SAL_BUCKET_WAYS = 12, /* a bucket fills one cache line */
	SAL_SEED_WORDS = 11,
	SAL_REASONS_MAX = 32,
	SAL_KEEP_MAX = 9216, /* the longest packet that a hold keeps: a jumbo frame */
	SAL_KEEP_SMALL = 1792,
	SAL_KEEP_LATER = 64, /* segments of one flow that are kept in one hold behind the lowest one */
	SAL_SERVICES_MAX = 1 << 16, /* pairs of virtual IP and port */
	SAL_CLIENTS_MAX = 4096, /* network namespaces whose connect() is resolved */
	SAL_SOCKETS_MAX = 65536, /* streams of which is known what they asked for, 144 bytes each */
	SAL_WAITING_MAX = 65536, /* sockets that wait for a replica */
	SAL_NO_SERVICE = 0x7fffffff, /* instead of a service's id */
	SAL_OPENING_MAX = 128, /* bytes of a segment that opens a connection, headers and options */
};

enum sal_direction {
	SAL_EGRESS = 0,
	SAL_INGRESS = 1,
};

enum sal_state {
	SAL_STATE_NONE = 0,
	SAL_STATE_PENDING = 1, /* known, passes untouched */
	SAL_STATE_HELD = 2, /* kept back: the far end is frozen */
	SAL_STATE_ACTIVE = 3, /* translated */
	SAL_STATE_REFUSED = 4, /* inbound: from where the flow was taken from before it was established; dropped */
};

/* Why a packet was given up. Stable numbers: never reused, never renumbered. */
enum sal_reason {
	SAL_REASON_NONE = 0,
	SAL_REASON_HELD = 1, /* of a held flow; TCP sends it again, what replay needs was kept */
	SAL_REASON_HELD_POD = 2, /* to or from a pod that is held as a whole */
	SAL_REASON_HELD_RING_FULL = 3, /* of a held flow, should have been kept, the ring buffer was full */
	SAL_REASON_HELD_TOO_LONG = 4, /* of a held flow, should have been kept, longer than SAL_KEEP_MAX */
	SAL_REASON_HELD_FRAGMENT = 5, /* of a held flow, a fragment or a datagram left to the device to cut: can't be replayed */
	SAL_REASON_HELD_OVERFLOW = 6, /* kept, then pushed out by a younger one (counted in user space) */
	SAL_REASON_FRAGMENT_UNKNOWN = 7, /* a later fragment whose first was not seen */
	SAL_REASON_TRUNCATED = 8, /* the transport header is cut off */
	SAL_REASON_HEADER_CHAIN = 9, /* more IPv6 extension headers than are followed */
	SAL_REASON_SOURCE_ROUTED = 10, /* the checksum covers an address that the IP header doesn't show */
	SAL_REASON_AUTHENTICATED = 11, /* an authentication header signs the addresses */
	SAL_REASON_QUOTE_TRUNCATED = 12, /* an ICMP error whose quoted packet is too short to name its flow */
	SAL_REASON_QUOTE_FRAGMENT = 13, /* an ICMP error that quotes a later fragment */
	SAL_REASON_REWRITE_FAILED = 14, /* the kernel refused a write in the middle of a translation */
	SAL_REASON_HELD_NEW = 15, /* opens a connection with a pod that is quiesced; it was kept */
	SAL_REASON_NO_REPLICA = 16, /* connect() or a datagram to a service that has no replica: refused (its bytes are 0) */
	SAL_REASON_DELAYED = 17, /* of a socket that waits for a replica; it was kept, or is a repetition of what was */
	SAL_REASON_GIVEN_UP = 18, /* from a replica that its connection was taken from, since it had not answered in time */
	SAL_REASON_GUEST_FRAGMENT = 19, /* a datagram in pieces between a guest and a virtual IP */
};

/* Bits of sal_pod.flags. */
enum sal_pod_flag {
	SAL_POD_USED = 1,
	SAL_POD_HELD = 2, /* nothing enters or leaves but neighbour discovery */
	SAL_POD_CLSACT = 4, /* attached as clsact filters, not by TCX links */
	SAL_POD_QUIET = 8, /* no connection is opened, either way; all else passes */
	SAL_POD_TRACKED = 16, /* its UDP sessions are noted */
	SAL_POD_GUESTS = 32, /* flows to services are resolved by the packets that open them */
};

/* Bits of sal_slot.flags. */
enum sal_slot_flag {
	SAL_SLOT_REROUTE = 1, /* look the route up again after the translation */
};

/* Bits of sal_slot.kept: what the ring buffer has already been given for this hold. */
enum sal_kept {
	SAL_KEPT_ACK = 1,
	SAL_KEPT_SEGMENT = 2,
	SAL_KEPT_RESET = 4,
};

struct sal_scope {
	__u16 pod;
	__u8 direction; /* enum sal_direction */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
};

struct sal_tuple {
	__be32 local[4];
	__be32 remote[4];
	__be16 local_port;
	__be16 remote_port;
};

struct sal_key {
	struct sal_scope scope;
	struct sal_tuple tuple;
};

/*
 * One direction of one flow: two cache lines. Egress matches the identity and writes the wire tuple, ingress
 * matches the wire tuple and writes the identity. Immutable once published, but for state and the counters.
 */
struct sal_slot {
	struct sal_key match;
	__u8 state; /* enum sal_state */
	__u8 kept; /* bits of enum sal_kept */
	__u8 flags; /* bits of enum sal_slot_flag */
	__u8 kept_later; /* segments behind the lowest one that were kept in this hold */
	__u32 address_diff; /* ones' complement sum of (new - old) over both addresses */
	__u32 port_diff; /* the same over both ports */
	struct sal_tuple to;
	__u64 flow_id;
	__u64 migration; /* owner of this rule */
	__u64 packets;
	__u64 bytes;
	__u32 kept_seq; /* lowest sequence number kept in this hold */
	__u32 kept_ack; /* highest acknowledgement kept in this hold */
};

/* One direction of a guest's flow to a service, as a slot that nobody but the kernel writes. */
struct sal_guest_flow {
	struct sal_slot slot;
	__u64 began_ns; /* CLOCK_MONOTONIC: when its replica was chosen */
	__u32 place; /* of that in sal_replicas */
	__u32 answered; /* something came back */
};

/*
 * A way is taken where its tag isn't 0. To publish, the slot's number is stored before the tag; to take out, the tag is
 * cleared; to replace, the number is swapped. Readers find the tag first and compare the slot's whole key.
 */
struct sal_bucket {
	__u8 tag[16]; /* the last 4 are never used: three words that are compared at once */
	__u32 slot[SAL_BUCKET_WAYS];
};

/* Chosen once, when the maps are made; the programs carry a copy in their read-only data. */
struct sal_config {
	__u32 abi_version;
	__u32 bucket_mask;
	__u32 slots;
	__u32 kernel_context; /* 1 where the kernel has bpf_cast_to_kern_ctx (6.2); 0 in the pinned copy */
	__u64 seed[SAL_SEED_WORDS];
	__u64 mapped_prefixes; /* sal_hash_prefixes() of two IPv4-mapped addresses */
};

struct sal_pod {
	__u32 flags; /* bits of enum sal_pod_flag */
	__u32 devices; /* how many it has */
	__u64 netns_inode;
	__u32 ifindex[SAL_DEVICES_MAX];
	char interfaces[512]; /* names of its devices, one blank between two */
	char netns[160]; /* path of the network namespace, as it was given */
	char name[320]; /* namespaced name of the pod */
};

/* Two addresses between which at least one flow has a rule: asked only where ports can't be read. */
struct sal_pair {
	__u16 pod;
	__u8 direction;
	__u8 reserved;
	__be32 local[4];
	__be32 remote[4];
};

struct sal_fragment_key {
	struct sal_scope scope;
	__be32 local[4];
	__be32 remote[4];
	__u32 id;
};

/* What was decided for a datagram's first fragment; the later ones follow it. */
struct sal_fragment {
	__u8 state; /* enum sal_state: PENDING passes */
	__u8 reserved[3];
	__u32 slot;
	__u64 flow_id; /* the slot may have been reused: compare */
};

/* When a session of UDP was last heard of, either way. Its key is a struct sal_key of egress: the identity. */
struct sal_session {
	__u64 last_seen_ns; /* CLOCK_MONOTONIC */
};

/* What a service does with who connects to it. */
enum sal_rule {
	SAL_RULE_FORWARD = 1, /* to one of its replicas, wherever */
	SAL_RULE_DEMUX = 2, /* the same; all of them are on this node */
	SAL_RULE_DELAY = 3, /* to one of its replicas, all of which are moving; where there is none the socket waits */
	SAL_RULE_DROP = 4, /* connect() fails */
};

/* Which of the choices a flow takes. */
enum sal_balance {
	SAL_BALANCE_RANDOM = 0,
	SAL_BALANCE_IN_TURN = 1,
	SAL_BALANCE_BY_CLIENT = 2,
};

/* Bits of sal_service.flags. */
enum sal_service_flag {
	SAL_SERVICE_OWN = 1, /* a pod that is a replica gets itself */
	SAL_SERVICE_EVEN = 2, /* all replicas alike, by chance: there are no choices to be looked at */
};

struct sal_endpoint {
	__be32 address[4];
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP; 0 where it is clear */
	__u8 reserved;
};

/*
 * Key of the service table: virtual IP, port and protocol. Replaced whole; who reads it at that moment has to see by `check`
 * whether it has one whole service, and the right one (lib/checked.h).
 */
struct sal_service {
	__u32 id; /* of its counters; the same for as long as the service is there */
	__u8 rule; /* enum sal_rule */
	__u8 balance; /* enum sal_balance */
	__u8 flags; /* bits of enum sal_service_flag */
	__u8 reserved;
	__u32 choices; /* where its part of sal_choices begins */
	__u32 size; /* how many choices it has; 0: none */
	__u32 replicas; /* where its part of sal_replicas begins; a choice counts from there */
	__u32 count; /* how many replicas */
	__u32 syn_timeout_ms;
	__u32 check; /* of its key and all of the above */
};

/* Key: an address that a workload has left. Read like sal_service. */
struct sal_left {
	struct sal_endpoint now; /* where the workload is */
	__u32 check;
};

/* Numbers of replicas within their service: an array's elements begin at multiples of 8 bytes, so two in each. */
struct sal_choices {
	__u32 number[2];
};

/*
 * A replica, and what this node's sockets have seen of it: half a cache line. With 10,000 services each further line that a
 * connect() has to look at costs it 0.1 us.
 */
struct sal_replica {
	struct sal_endpoint at; /* without protocol */
	__u32 rtt_us; /* of SYN and its answer, smoothed; 0: none yet */
	__u32 connections; /* established; of UDP: sockets that were given it */
	__u32 failures; /* SYNs that were not answered in time, or refused */
};

struct sal_service_count {
	__u64 turn; /* of SAL_BALANCE_IN_TURN */
	__u64 refused;
	__u64 waited;
};

/* A network namespace whose sockets are resolved. Its key is the namespace's cookie. */
struct sal_client {
	__u32 number; /* of its pod's name: what SAL_BALANCE_BY_CLIENT goes by, the same on every node */
	__u32 flags;
};

struct sal_own_key {
	__u64 netns; /* cookie */
	__u32 service; /* sal_service.id */
	__u32 reserved;
};

/* What one socket asked for and got. */
struct sal_resolved {
	struct sal_endpoint asked; /* the virtual IP, or the address that a workload has left */
	struct sal_endpoint replica;
	__u32 service; /* its id; SAL_NO_SERVICE where an address was left */
	__u32 place; /* of the replica in sal_replicas, for as long as that is the same one there */
	__u32 reserved;
	__u32 syn_timeout_ms; /* 0: as the kernel has it */
	__u64 netns; /* cookie */
	__u64 cookie; /* of the socket while it waits for a replica, else 0 */
};

/* Whom a UDP socket asked, by whom it talks to. */
struct sal_datagram_key {
	__u64 socket; /* cookie */
	struct sal_endpoint replica;
	__u32 reserved;
};

/* Set by the loader of the programs at connect(). */
struct sal_connect_config {
	__u32 every_client; /* 1: whatever is in the cgroup, not only the namespaces of sal_clients */
	__u32 set_retval; /* 1 where the kernel has bpf_set_retval (5.18): refused with ECONNREFUSED, else with EPERM */
	__u32 hz; /* jiffies in a second */
	__u32 reserved;
};

enum sal_event_kind {
	SAL_EVENT_SILENT = 1, /* a SYN got no answer in time */
	SAL_EVENT_REFUSED = 2, /* a SYN was refused */
	SAL_EVENT_WAITS = 3, /* a socket waits for a replica; `opening` is its SYN */
};

/* What user space is told of sockets that connect. */
struct sal_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 netns; /* cookie */
	__u64 socket; /* cookie */
	struct sal_endpoint local;
	struct sal_endpoint replica;
	struct sal_endpoint asked;
	__u32 service;
	__u8 kind; /* enum sal_event_kind */
	__u8 attempt; /* SYNs that were sent before, from 1 */
	__u16 length; /* bytes of opening[] that are valid: an IP packet */
	__u8 opening[SAL_OPENING_MAX];
};

struct sal_drop {
	__u64 packets;
	__u64 bytes;
};

/* A packet that a hold kept, as the ring buffer carries it: in identity, cut to one segment, from its IP header on. */
struct sal_kept_packet {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 flow_id; /* 0 where no rule exists (a held pod's new connections) */
	struct sal_key key;
	__u32 seq; /* TCP: sequence number, acknowledgement, payload length before the cut, flags */
	__u32 ack;
	__u32 payload;
	__u16 length; /* bytes of data[] that are valid */
	__u8 tcp_flags;
	__u8 kind; /* enum sal_kept; 0 for a datagram */
	__u16 transport; /* offset of the transport header in data[] */
	__u16 reserved[3];
};

#endif
