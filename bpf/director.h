/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The border with user space: every value that lies in a map. Nothing else of
 * the data path is known outside it; src/dataplane/xdp/layout.generated.ts is
 * made from the BTF of these types. Ports and addresses are in network byte
 * order (__be16, __be32), all else is in the host's. Times are seconds of
 * CLOCK_MONOTONIC, called ticks.
 */
#ifndef DIRECTOR_H
#define DIRECTOR_H

#include <linux/types.h>

/* Raised with every change of what is pinned; what of older versions is taken over, load.ts says. */
#define LAYOUT_VERSION 6

/* Limits known at compile time; sizes of maps are set before loading. */
#define MAX_INTERFACES 256	/* a power of two */
#define MIN_SERVICE_SLOTS 64	/* a power of two, as all sizes of the service table */
#define MAX_SERVICE_SLOTS 16384 /* four times the services */
#define MAX_SERVICES 4096	/* service ids 1 to 4095 */
#define MAX_REAL_SERVERS 65536	/* real-server ids 1 to 65535: 16 bits of a slot */
#define SLOTS_PER_LINE 8	/* 8 slots of 8 bytes: a cache line */
#define TREE_LEVELS 17		/* a tournament tree has at most 2^16 leaves */
#define TREE_NODES 1048576	/* of all trees together, a power of two */

/*
 * Connection states, of the kernel's net/netfilter/ipvs/ip_vs_proto_tcp.c and
 * ip_vs_proto_sctp.c. The idle ones are ours: a slot's tick counts little more
 * than an hour, so the sweep moves a connection that rests for long into the
 * idle state of its own, where connection_extra.used is the time of its last
 * packet; the next packet brings it back.
 */
enum connection_state {
	STATE_NONE = 0,
	STATE_ESTABLISHED = 1,
	STATE_SYN_SENT = 2,
	STATE_SYN_RECV = 3,
	STATE_FIN_WAIT = 4,
	STATE_TIME_WAIT = 5,
	STATE_CLOSE = 6,
	STATE_CLOSE_WAIT = 7,
	STATE_LAST_ACK = 8,
	STATE_LISTEN = 9,
	STATE_SYNACK = 10,
	STATE_UDP = 11,
	STATE_TEMPLATE = 12, /* persistence template: client network -> real server */
	STATE_ESTABLISHED_IDLE = 13,
	STATE_UDP_IDLE = 14,
	STATE_FIN_WAIT_IDLE = 15,
	STATE_SCTP_NONE = 16,
	STATE_SCTP_INIT1 = 17,
	STATE_SCTP_INIT = 18,
	STATE_SCTP_COOKIE_SENT = 19,
	STATE_SCTP_COOKIE_REPLIED = 20,
	STATE_SCTP_COOKIE_WAIT = 21,
	STATE_SCTP_COOKIE = 22,
	STATE_SCTP_COOKIE_ECHOED = 23,
	STATE_SCTP_ESTABLISHED = 24,
	STATE_SCTP_SHUTDOWN_SENT = 25,
	STATE_SCTP_SHUTDOWN_RECEIVED = 26,
	STATE_SCTP_SHUTDOWN_ACK_SENT = 27,
	STATE_SCTP_REJECTED = 28,
	STATE_SCTP_CLOSED = 29,
	STATE_SCTP_ESTABLISHED_IDLE = 30,
	STATE_UDP_NEW = 31, /* ours: one datagram and no answer have come by the director */
	STATE_COUNT = 32,   /* five bits of a slot */
};

enum scheduler {
	SCHEDULER_RR = 0,
	SCHEDULER_WRR = 1,
	SCHEDULER_LC = 2,
	SCHEDULER_WLC = 3,
	SCHEDULER_LBLC = 4,
	SCHEDULER_LBLCR = 5,
	SCHEDULER_DH = 6,
	SCHEDULER_SH = 7,
	SCHEDULER_SED = 8,
	SCHEDULER_NQ = 9,
	SCHEDULER_FO = 10,
	SCHEDULER_OVF = 11,
	SCHEDULER_MH = 12,
	SCHEDULER_TWOS = 13,
};

/* How a packet reaches its real server; the numbers of ipvsadm's kernel side. */
enum forwarding_method {
	METHOD_MASQ = 0,
	METHOD_LOCAL = 1,
	METHOD_IPIP = 2,
	METHOD_GATE = 3,
};

/* How a packet is wrapped for METHOD_IPIP; IP_VS_CONN_F_TUNNEL_TYPE_* of the kernel's ip_vs.h. */
enum tunnel_type {
	TUNNEL_IPIP = 0,
	TUNNEL_GUE = 1,
	TUNNEL_GRE = 2,
};

/* Of GUE's UDP header and of GRE; IP_VS_TUNNEL_ENCAP_FLAG_* of the kernel's ip_vs.h. */
enum tunnel_checksum {
	TUNNEL_CHECKSUM_NONE = 0,
	TUNNEL_CHECKSUM_FULL = 1,
	TUNNEL_CHECKSUM_REMOTE = 2, /* of packets that come from the network: as none */
};

enum address_family {
	FAMILY_NONE = 0,
	FAMILY_IPV4 = 4,
	FAMILY_IPV6 = 6,
};

enum service_slot_kind {
	SERVICE_SLOT_FREE = 0,
	SERVICE_SLOT_IPV4 = 4,
	SERVICE_SLOT_IPV6 = 6,
	SERVICE_SLOT_OWN_IPV4 = 20, /* an address of this machine, not a service */
	SERVICE_SLOT_OWN_IPV6 = 22,
	SERVICE_SLOT_REPLY_IPV4 =
		30, /* endpoint of a masqueraded real server, whose id `service` is */
	SERVICE_SLOT_REPLY_IPV6 = 32,
	SERVICE_SLOT_STATION =
		40, /* a real server that may be a director, too: its service in address[1],
				       * its MAC address behind that; `service` is its id */
	SERVICE_SLOT_DELETED = 255, /* probing goes on behind it */
};

/* IP_VS_SVC_F_SCHED1 and 2, of sh and mh. */
enum scheduler_flag {
	SCHEDULER_FALLBACK = 1 << 0, /* sh-fallback, mh-fallback */
	SCHEDULER_PORT = 1 << 1,     /* sh-port, mh-port */
};

enum service_flag {
	SERVICE_ONE_PACKET = 1 << 0,   /* every UDP datagram is scheduled */
	SERVICE_THRESHOLDS = 1 << 1,   /* some real server has an upper threshold */
	SERVICE_WIDE_WEIGHTS = 1 << 2, /* some weight's square is above 2^32 / tree_leaves */
	SERVICE_LEAVING = 1 << 3,      /* goes to another plane: new connections are the stack's */
};

enum real_server_flag {
	REAL_SERVER_AVAILABLE =
		1 << 0, /* member of its service; without: taken away, connections linger */
	REAL_SERVER_LOCAL = 1 << 1,    /* an address of this machine: to the stack */
	REAL_SERVER_RESOLVED = 1 << 2, /* interface and MAC addresses are valid */
	REAL_SERVER_FELLOW =
		1 << 3, /* its service has one on this machine: it may be a director, too */
};

/* A network interface the program is attached to, found by (ifindex, vlan). */
struct interface {
	__u32 ifindex; /* physical interface, as the context has it; 0: free */
	__u16 vlan;    /* VLAN id, 0: untagged */
	__u16 reserved;
	__u8 mac[6]; /* frames for another address are not ours */
	__u16 mtu;   /* bytes; longer ones were merged by GRO. 0: unknown */
};

/*
 * Service table: linear probing over 32-byte slots, written by control(). It is
 * no larger than keeps nearly every slot in its own place, so that packets of
 * many services meet few pages, and doubled when it must be. A table of n slots
 * begins at slot n: each size has its place, and settings.service_slots tells
 * which one packets look in.
 */
struct service_slot {
	__be32 address[4]; /* IPv4 in address[3], the others 0 */
	__be16 port;	   /* 0: all ports */
	__u8 protocol;	   /* IPPROTO_*; 0 for an own address */
	__u8 kind;	   /* enum service_slot_kind */
	__u32 service;	   /* index into services */
	__u64 reserved;
};

/* A virtual service; written by user space only. */
struct service {
	__be32 address[4];	       /* IPv4 in address[3] */
	__be16 port;		       /* 0: all ports */
	__u8 protocol;		       /* IPPROTO_*; 0: this index is free */
	__u8 family;		       /* enum address_family */
	__u8 scheduler;		       /* enum scheduler */
	__u8 flags;		       /* enum service_flag */
	__u16 scheduler_flags;	       /* enum scheduler_flag */
	__u32 persistence_timeout;     /* seconds; 0: not persistent */
	__be32 persistence_netmask[4]; /* IPv4 in [3] */
	__u32 ring_segment;	       /* first of ring_segments; rr wrr dh sh mh twos */
	__u32 ring_segments;
	__u32 ring_length; /* cycle of the cursor, size of the hash table, or sum of the weights */
	__u32 tree;	   /* first of its nodes, even; lc wlc sed nq lblc lblcr fo ovf */
	__u32 tree_leaves; /* a power of two; nodes are 2 * leaves, from tree / 2 on in
				 * tree_leaves; 0: no tree */
	__u32 spread;	   /* first of ring_members: consistent hash, for packets without a slot */
	__u32 spread_length;
	__u32 idle_timeout;    /* seconds, 0: global timeouts */
	__u32 new_per_second;  /* limit of new connections; 0: none */
	__u64 retired_packets; /* of real servers that are gone */
	__u64 retired_bytes;
	__u64 retired_connections;
	__u64 ring_cursor; /* for user space: the cursor when the ring was made */
	__u32 ring_origin; /* for user space: rr: real server served last until then; wrr: weight of that level */
	__u32 new_per_source; /* the same, of one IPv4 address or IPv6 /64 */
	__u32 reserved[2];
};

/* What scheduling remembers of a service; written by the data path. */
struct service_state {
	__u64 cursor;		/* rr, wrr: position in the ring, modulo its length */
	__u32 sticky;		/* lblc: real server that the virtual address sticks to, 0: none;
			    * lblcr: the first of those it is replicated on */
	__u32 sticky_used;	/* tick of the last use */
	__u32 light;		/* real servers with 2 * active < weight */
	__u32 scheduled;	/* tick at which the service got its scheduler */
	__u32 replicas_changed; /* lblcr: tick at which one was added or removed */
	__u32 replicas_round;	/* lblcr: which replicas are valid */
	__u32 replicas_lock;
	__u32 restarted;  /* wrr: nothing was found, the next round begins from the list's head */
	__u32 limit_tick; /* the second that limit_count counts new connections of */
	__u32 limit_count;
	__u64 retired_replies; /* for user space: reply_counters of real servers that are gone */
	__u64 retired_reply_bytes;
};

/* Ring: positions [previous end, end) walk `length` members from `first`, again and again. */
struct ring_segment {
	__u32 end;
	__u32 first; /* index into ring_members */
	__u32 length;
	__u32 weight; /* its members have this at least */
};

/* A real server of one service: one line, what forwarding needs. User space writes. */
struct real_server {
	__u8 next_hop_mac[6];
	__u8 source_mac[6]; /* of the outgoing interface */
	__u32 ifindex;	    /* physical outgoing interface */
	__u16 vlan;	    /* tag to leave with, 0: none */
	__u16 mtu;	    /* of the way to it, bytes */
	__u32 service;
	__u32 flags;	   /* enum real_server_flag */
	__be32 address[4]; /* IPv4 in [3] */
	__be16 port;
	__u8 family;	       /* enum address_family; 0: this index is free */
	__u8 method;	       /* enum forwarding_method */
	__u32 leaf;	       /* its leaf, counted from the tree's last; order of addition */
	__u32 upper_threshold; /* connections; 0: none */
	__u32 lower_threshold;
	__u32 idle_timeout; /* its service's */
};

/* What wraps the packets of a real server of METHOD_IPIP; by its id. User space writes all but the path's MTU. */
struct tunnel {
	__be32 source[4]; /* outer source address; IPv4 in [3] */
	__be16 port;	  /* UDP port of GUE */
	__u8 type;	  /* enum tunnel_type */
	__u8 checksum;	  /* enum tunnel_checksum */
	__u16 overhead;	  /* bytes that it adds to a packet */
	__u16 path_mtu;	  /* of the way to the real server, told by an ICMP error; 0: none has */
	__u32 path_mtu_tick;
	__u32 reserved;
};

/* Per CPU: what real servers have answered through the director. */
struct reply_counters {
	__u64 packets;
	__u64 bytes; /* IP length */
};

/* Where a VLAN interface lies; by its index. */
struct vlan_link {
	__u32 ifindex; /* physical */
	__u16 vlan;
	__u16 reserved;
};

/*
 * Set in a load's weight by the data path: over its upper threshold, and not
 * yet under the lower. A weight is 31 bits, as the kernel's.
 */
#define LOAD_OVERLOADED 0x80000000U

/* Written by the data path with atomics, weight by user space. */
struct real_server_load {
	__u32 active;	  /* established and half-open */
	__u32 inactive;	  /* all other connections */
	__u32 persistent; /* templates */
	__u32 weight;	  /* 0: quiescent; and LOAD_OVERLOADED */
};

/* Of a real server, what only a scheduler asks for. */
struct real_server_history {
	__u32 last_weight; /* for mh: the last one that was not 0; once taken away: its weight then. By
			    * user space */
	__u32 next_replica;   /* lblcr: the next of the service's replicas, 0: the last */
	__u32 replicas_round; /* it is one if this is that of the service's state */
	__u32 reserved;
};

/* Per CPU, plain additions. */
struct real_server_counters {
	__u64 packets;
	__u64 bytes; /* IP length */
	__u64 connections;
	__u64 reserved;
};

/*
 * The connection table: a slot is one word, so it is opened, changed and
 * freed by one compare-and-swap.
 *   63..33 tag, never 0   32..17 real server   16..12 state   11..0 tick
 * The tag's lowest bit is set when the slot lies not in the line that the hash
 * names but, for want of room, in that line's neighbour.
 */
#define SLOT_TICK_BITS 12
#define SLOT_STATE_SHIFT 12
#define SLOT_REAL_SERVER_SHIFT 17
#define SLOT_TAG_SHIFT 33
#define SLOT_TICK_MASK 0xfffULL
#define SLOT_STATE_MASK 0x1fULL
#define SLOT_REAL_SERVER_MASK 0xffffULL
#define TAG_DISPLACED 1ULL

/* Who a connection belongs to; only opening and listing touch it. */
struct connection_detail {
	__be32 client;	    /* IPv6: the last 32 bits; of a template: the client's network */
	__be16 client_port; /* 0: template */
	__be16 virtual_port;
};

/* Slots and details lie side by side, so that opening meets one page and two adjacent lines. */
struct connection_line {
	__u64 slot[SLOTS_PER_LINE];
	struct connection_detail detail[SLOTS_PER_LINE];
};

/*
 * Of persistence, of IPv6 and of long idleness only; indexed by slot: line *
 * SLOTS_PER_LINE + place. Those of a line are two cache lines.
 */
struct connection_extra {
	__be32 client[3]; /* first 96 bits of an IPv6 client or network */
	__u32 used;	  /* tick of a template's or an idle connection's last use */
};

/* New connections of one source within a second. */
struct source_key {
	__be32 network[4]; /* an IPv4 address in [3], or an IPv6 /64 */
	__u32 service;
	__u32 reserved;
};

struct source {
	__u32 tick;
	__u32 count;
};

struct fragment_key {
	__be32 source[4];
	__be32 destination[4];
	__u32 id;
	__u32 protocol;
};

/* Whose later fragments may be held: to a virtual address, or from a masqueraded real server. */
struct fragment_address {
	__be32 address[4]; /* IPv4 in [3] */
};

/* In place of a real server, or beside it. */
#define FRAGMENT_OF_REPLY 0x80000000U /* it comes from that one */
#define FRAGMENT_OF_STACK 0x40000000U /* none: the stack has the first one, or may wait for it */
#define FRAGMENT_AWAITED 0x20000000U /* none yet: later ones are held, the first one has not come */

struct fragment {
	__u32 real_server;
	__u32 tick;
};

/* As many bytes of a frame can be held: with its record they are 2 KiB. */
#define HELD_FRAME_MAX 2000

/* What user space is told of fragments, by a ring buffer; behind it lies the frame. */
struct fragment_record {
	struct fragment_key key;
	__u32 ifindex; /* where the frame came in; 0: no frame, the first fragment has come */
	__u32 length;  /* of the frame, bytes */
};

/* Per CPU. A packet that is not forwarded adds to exactly one of them. */
struct packet_counters {
	/* to the stack */
	__u64 pass_not_ip;
	__u64 pass_not_service;
	__u64 pass_other_mac;
	__u64 pass_other_vlan;
	__u64 pass_malformed;
	__u64 pass_no_connection;
	__u64 pass_source_address;
	__u64 pass_option;
	__u64 pass_fragment;
	__u64 pass_directed; /* by a fellow director, to this machine as a real server */
	__u64 pass_icmp;     /* an ICMP error that tells of no connection of ours */
	/* dropped */
	__u64 drop_short_header;
	__u64 drop_no_real_server;
	__u64 drop_real_server_gone;
	__u64 drop_unresolved;
	__u64 drop_time_exceeded; /* and the ICMP error was over its rate, or could not be made */
	__u64 drop_too_big;
	__u64 drop_rewrite;
	__u64 drop_service_limit;
	__u64 drop_source_limit;
	/* answered with ICMP in place of a drop */
	__u64 icmp_unreachable;
	__u64 icmp_time_exceeded;
	__u64 icmp_too_big;
	__u64 reset_real_server_gone; /* answered with a RST in place of a drop */
	/* forwarded all the same, but worth a number */
	__u64 forward_untracked;
	__u64 forward_fragment;
	__u64 forward_icmp; /* an ICMP error, to whom it concerns */
	/* the connection table */
	__u64 expired;
	__u64 victim_expired;
	__u64 victim_closing;
	__u64 victim_half_open;
	/* given to user space, which lets the program meet it again */
	__u64 hold_fragment;
};

/* Values of settings.conn_reuse_mode and settings.expire_nodest_conn beyond off (0) and on (1). */
#define REUSE_FIN_WAIT 2   /* a bit: a SYN opens a new connection in FIN_WAIT, too */
#define EXPIRE_QUIESCENT 2 /* weight 0 ends connections as well */

#define LBLC_EXPIRATION \
	86400 /* seconds, DEFAULT_EXPIRATION of the kernel's ip_vs_lblc.c and ip_vs_lblcr.c */

/* Set by user space, read by the program; survives a new program. Lies in `.data.settings`. */
struct settings {
	__u32 layout_version;
	__u32 line_mask; /* lines of the connection table less one */
	__u64 key[4];	 /* secret of the connection hash; [1] and [3] odd */
	/* By control(); before layout 6 these two were the other way round. */
	__u32 service_slots_used;   /* those that are not free */
	__u32 service_slots;	    /* size of the service table, and where it begins */
	__u32 timeout[STATE_COUNT]; /* seconds, by enum connection_state */
	__u32 all_ports_services;   /* some service has port 0 */
	__u32 icmp_per_second;	    /* rate limit of ICMP errors, per CPU; 0: none are sent */
	__u16 templates;     /* a persistence template was made at some time; written by packets */
	__u16 tuple_hash;    /* 0: a table from before layout 6, see connection_hash() */
	__u32 ftp_services;  /* some service has port 21 */
	__u32 masquerades;   /* some real server is of METHOD_MASQ */
	__u32 fellows;	     /* some real server has REAL_SERVER_FELLOW */
	__u64 own_addresses; /* filter over IPv4 own addresses, written by control() */
	/* As the kernel's sysctls net.ipv4.vs.*, docs/IPVS.md has the differences. */
	__u32 conn_reuse_mode;
	__u32 expire_nodest_conn;
	__u32 expire_quiescent_template;
	__u32 sloppy_tcp;
	__u32 sloppy_sctp;
	__u32 resets_per_second; /* rate limit of RSTs for connections of a real server that is
				   * gone, per CPU; 0: none are sent */
	__u32 limits;		 /* some service limits new connections */
	__u32 idle_timeouts;	 /* some service has a timeout of its own */
	__u32 lblc_expiration;	 /* seconds */
	__u32 lblcr_expiration;
	__u32 vlan_links; /* some interface is of a VLAN */
	__s32 fragment_room; /* fragments that user space will hold at present; counted down by packets */
};

/* The clock and the sweep; written by the timer only. Lies in `.data.sweep`. */
struct sweep {
	__u32 tick;	   /* seconds of CLOCK_MONOTONIC */
	__u32 line;	   /* next line to look at */
	__u64 rounds;	   /* of the timer */
	__u64 passes;	   /* over the whole table */
	__u64 nanoseconds; /* spent in it */
	__u32 live;	   /* slots in use, counted by the last whole pass */
	__u32 live_counting;
	__u32 live_by_state[STATE_COUNT];
	__u32 counting_by_state[STATE_COUNT];
};

/* control(): user space asks the program by BPF_PROG_TEST_RUN, in the packet's bytes. */
enum control_operation {
	CONTROL_START_SWEEP = 1,    /* arm the timer with this program's callback */
	CONTROL_PUT_SERVICE = 2,    /* slot: insert or replace */
	CONTROL_DELETE_SERVICE = 3, /* slot: by address, port, protocol, kind */
	CONTROL_BUILD_TREE = 4, /* index, tree, tree_leaves, scheduler, flags: fill the nodes from
					 * the leaves and the loads */
	CONTROL_SWEEP = 5,	/* one whole pass of the sweep now (tests) */
	CONTROL_FORGET = 6,	/* index: a real server that no scheduler is to know any more */
	CONTROL_IMPORT = 7, /* index: how many struct connection_import follow the request; flags:
				     * enum import_flag */
	/*
	 * index: size of a table whose slots an older program has placed; packets look for them
	 * in one of another size. The caller writes settings.service_slots_used, once that program
	 * is gone
	 */
	CONTROL_MOVE_SERVICES = 8,
};

enum import_flag {
	IMPORT_REPLACE = 1 << 0, /* one that is there already becomes as this one */
};

enum import_result {
	IMPORT_NONE = 0,
	IMPORT_OPENED = 1,
	IMPORT_PRESENT = 2, /* was there already */
	IMPORT_NO_ROOM = 3,
	IMPORT_REFUSED = 4, /* its real server is none, or the state none of its protocol */
};

/* As many fit into one packet of BPF_PROG_TEST_RUN with the request. */
#define MAX_IMPORTS 96

/* A connection or persistence template that another data plane had; behind a control_request. */
struct connection_import {
	__be32 client[4];   /* IPv4 in [3]; of a template: the client's network */
	__be16 client_port; /* 0: template */
	__be16 virtual_port;
	__u32 real_server;
	__u32 expires_in; /* seconds, if no packet comes */
	__u8 state;	  /* enum connection_state, none of the idle ones */
	__u8 result;	  /* enum import_result, written by the program */
	__u16 reserved;
};

struct control_request {
	__u32 operation;
	__u32 index;
	struct service_slot slot;
	__s32 result; /* 0 or -errno, written by the program */
	__u32 tree;
	__u32 tree_leaves;
	__u32 scheduler;
	__u32 flags; /* of the service */
	__u32 reserved;
};

_Static_assert(sizeof(struct interface) == 16, "interface");
_Static_assert(sizeof(struct service_slot) == 32, "service_slot");
_Static_assert(sizeof(struct service) == 128, "service");
_Static_assert(__builtin_offsetof(struct service, tree) % 8 == 0,
	       "tree and tree_leaves are one store");
_Static_assert(sizeof(struct service_state) == 64, "service_state");
_Static_assert(sizeof(struct real_server) == 64, "real_server");
_Static_assert(sizeof(struct tunnel) == 32, "tunnel");
_Static_assert(sizeof(struct real_server_load) == 16, "real_server_load");
_Static_assert(sizeof(struct real_server_history) == 16, "real_server_history");
_Static_assert(sizeof(struct connection_line) == 128, "connection_line");
_Static_assert(sizeof(struct connection_extra) == 16, "connection_extra");
_Static_assert(sizeof(struct source_key) == 24, "source_key");
_Static_assert(sizeof(struct fragment_record) == 48, "fragment_record");
_Static_assert(sizeof(struct packet_counters) == 256, "packet_counters");
_Static_assert(sizeof(struct control_request) == 64, "control_request");
_Static_assert(sizeof(struct connection_import) == 32, "connection_import");

#endif
