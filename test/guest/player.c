/* SPDX-License-Identifier: Apache-2.0 */
/*
 * player STEPS ANSWERS WIRE DEVICE
 *
 * Plays frames and changes to the kernel's IPVS, in this process's network namespace, and writes down what comes of
 * each. WIRE and DEVICE are the ends of a veth: frames go in by WIRE, and a packet socket on DEVICE sees them come in
 * and sees, before the next one comes in, all that the kernel sends in answer. So many of them need one system call.
 *
 * STEPS, all numbers little endian: records of { u8 kind; u8 zero[3]; u32 length } and as many bytes, padded to a
 * multiple of 4.
 *   kind 'F': a frame that comes in
 *   kind 'N': a message to the generic netlink family IPVS, from its struct genlmsghdr on
 *   kind 'S': a pause; the bytes are a u32 of milliseconds
 *   kind 'C': no bytes; what connections there are
 * ANSWERS: for each step a u32 count, and as many records of { u32 length } and bytes, padded likewise: the frames that
 * went out, of a change the error number as s32, of connections the text of
 * /proc/net/ip_vs_conn, three times.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Frames that are sent by one system call. */
#define BATCH 128
#define RING_FRAME 4096
#define RING_FRAMES 2048
#define VLAN_TAG 4

struct step {
	uint8_t kind;
	uint8_t zero[3];
	uint32_t length;
};

struct frame {
	const unsigned char *bytes;
	uint32_t length;
};

static FILE *answers;
static int wire;
static int device;
static unsigned char *ring;

static void fail(const char *what)
{
	fprintf(stderr, "player: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int packet_socket(const char *interface, uint16_t protocol)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || !address.sll_ifindex)
		fail(interface);
	if (protocol) {
		struct tpacket_req request = {
			.tp_block_size = RING_FRAME * 16,
			.tp_block_nr = RING_FRAMES / 16,
			.tp_frame_size = RING_FRAME,
			.tp_frame_nr = RING_FRAMES,
		};
		int version = TPACKET_V2;

		if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
		    setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)))
			fail("ring");
		ring = mmap(NULL, RING_FRAME * RING_FRAMES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			    0);
		if (ring == MAP_FAILED)
			fail("mmap");
	}
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail(interface);
	return fd;
}
static unsigned char *read_file(const char *path, size_t *size)
{
	struct stat stat;
	unsigned char *bytes;
	FILE *file = fopen(path, "r");

	if (!file || fstat(fileno(file), &stat))
		fail(path);
	bytes = malloc(stat.st_size + 1);
	if (!bytes || fread(bytes, 1, stat.st_size, file) != (size_t)stat.st_size)
		fail(path);
	fclose(file);
	*size = stat.st_size;
	return bytes;
}

/* --- generic netlink */

static int request(int netlink, uint16_t type, const void *body, size_t length, void *reply,
		   size_t room)
{
	static uint32_t sequence;
	struct nlmsghdr header = {
		.nlmsg_len = NLMSG_LENGTH(length),
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.nlmsg_seq = ++sequence,
	};
	struct iovec parts[] = { { &header, NLMSG_HDRLEN }, { (void *)body, length } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t received;

	if (sendmsg(netlink, &message, 0) < 0)
		fail("sendmsg");
	received = recv(netlink, reply, room, 0);
	if (received < 0)
		fail("recv");
	return received;
}

static uint16_t family_id(int netlink, const char *name)
{
	struct {
		struct genlmsghdr header;
		struct nlattr attribute;
		char name[GENL_NAMSIZ];
	} body = {
		.header = { .cmd = CTRL_CMD_GETFAMILY, .version = 1 },
		.attribute = { .nla_len = NLA_HDRLEN + strlen(name) + 1,
			       .nla_type = CTRL_ATTR_FAMILY_NAME },
	};
	unsigned char reply[8192], acknowledgement[8192];
	int at = NLMSG_HDRLEN + GENL_HDRLEN, received;

	strcpy(body.name, name);
	received = request(netlink, GENL_ID_CTRL, &body,
			   GENL_HDRLEN + NLA_ALIGN(body.attribute.nla_len), reply, sizeof(reply));
	if (((struct nlmsghdr *)reply)->nlmsg_type != GENL_ID_CTRL) {
		errno = ENOENT;
		fail(name);
	}
	recv(netlink, acknowledgement, sizeof(acknowledgement), 0);
	while (at + NLA_HDRLEN <= received) {
		struct nlattr *attribute = (void *)(reply + at);

		if (attribute->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)(attribute + 1);
		at += NLA_ALIGN(attribute->nla_len);
	}
	errno = EPROTO;
	fail(name);
	return 0;
}

/* --- what the device has seen */

/* The next one in the ring, with its VLAN tag in its place; false if there is none. */
static bool next_seen(struct frame *frame, bool *outgoing)
{
	static unsigned char copy[RING_FRAME + VLAN_TAG];
	static unsigned int at;
	struct tpacket2_hdr *header = (void *)(ring + (size_t)at * RING_FRAME);
	struct sockaddr_ll *address = (void *)header + TPACKET_ALIGN(sizeof(*header));
	unsigned char *bytes = (void *)header + header->tp_mac;
	int tag = 0;

	if (!(__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return false;
	if (header->tp_snaplen != header->tp_len || header->tp_status & TP_STATUS_LOSING) {
		errno = EOVERFLOW;
		fail("ring");
	}
	if (header->tp_status & TP_STATUS_VLAN_VALID) {
		uint16_t words[] = { htons(ETHERTYPE_VLAN), htons(header->tp_vlan_tci) };

		if (header->tp_status & TP_STATUS_VLAN_TPID_VALID)
			words[0] = htons(header->tp_vlan_tpid);
		tag = VLAN_TAG;
		memcpy(copy + 2 * ETH_ALEN, words, VLAN_TAG);
	}
	memcpy(copy, bytes, 2 * ETH_ALEN);
	memcpy(copy + 2 * ETH_ALEN + tag, bytes + 2 * ETH_ALEN, header->tp_snaplen - 2 * ETH_ALEN);
	frame->bytes = copy;
	frame->length = header->tp_snaplen + tag;
	*outgoing = address->sll_pkttype == PACKET_OUTGOING;
	__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	at = (at + 1) % RING_FRAMES;
	return true;
}

static bool wait_for_seen(struct frame *frame, bool *outgoing, int milliseconds)
{
	struct pollfd pollfd = { .fd = device, .events = POLLIN };

	return next_seen(frame, outgoing) ||
	       (poll(&pollfd, 1, milliseconds) > 0 && next_seen(frame, outgoing));
}

/* --- answers */

static unsigned char pending[1 << 22];
static uint32_t pending_length;
static uint32_t pending_count;

static void add_answer(const void *bytes, uint32_t length)
{
	uint32_t padded = NLA_ALIGN(length);

	if (pending_length + sizeof(length) + padded > sizeof(pending)) {
		errno = ENOBUFS;
		fail("answer");
	}
	memcpy(pending + pending_length, &length, sizeof(length));
	memset(pending + pending_length + sizeof(length), 0, padded);
	memcpy(pending + pending_length + sizeof(length), bytes, length);
	pending_length += sizeof(length) + padded;
	pending_count++;
}

/* Of one step, all of it. */
static void end_answers(void)
{
	fwrite(&pending_count, sizeof(pending_count), 1, answers);
	fwrite(pending, 1, pending_length, answers);
	pending_length = pending_count = 0;
}

/* --- steps */

static void send_frames(const struct frame *frames, unsigned int count)
{
	struct mmsghdr messages[BATCH] = {};
	struct iovec parts[BATCH];
	unsigned int sent = 0;

	for (unsigned int i = 0; i < count; i++) {
		parts[i] = (struct iovec){ (void *)frames[i].bytes, frames[i].length };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < count) {
		int done = sendmmsg(wire, messages + sent, count - sent, 0);

		/* One that is too short or too long for the wire is lost there. */
		if (done < 0 && errno != EMSGSIZE && errno != EINVAL)
			fail("sendmmsg");
		sent += done < 0 ? 1 : done;
	}
}

static bool same_frame(const struct frame *a, const struct frame *b)
{
	return a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);
}

/* What goes out after a frame has come in and before the next one does is its answer. */
static void play_frames(const struct frame *frames, unsigned int count)
{
	struct frame seen;
	unsigned int next = 0;
	bool outgoing;

	send_frames(frames, count);
	/* The last one is not waited for long once it has come in: then its answers have gone out. */
	while (wait_for_seen(&seen, &outgoing, next < count ? 50 : 0)) {
		if (outgoing) {
			add_answer(seen.bytes, seen.length);
			continue;
		}
		for (unsigned int i = next; i < count; i++) {
			if (!same_frame(&frames[i], &seen))
				continue;
			/* Those before it have not come in at all. */
			for (; next <= i; next++)
				if (next)
					end_answers();
			break;
		}
	}
	for (; next <= count; next++)
		if (next)
			end_answers();
}

static void play_change(int netlink, uint16_t family, const struct step *step, const void *bytes)
{
	static unsigned char reply[65536];

	request(netlink, family, bytes, step->length, reply, sizeof(reply));
	add_answer(&((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)reply))->error,
		   sizeof(int32_t));
	end_answers();
}

static void play_pause(const void *bytes)
{
	uint32_t milliseconds = *(const uint32_t *)bytes;
	struct timespec pause = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
	struct frame seen;
	bool outgoing;

	nanosleep(&pause, NULL);
	while (next_seen(&seen, &outgoing))
		if (outgoing)
			add_answer(seen.bytes, seen.length);
	end_answers();
}

/* Of three readings, because one goes astray when a connection expires meanwhile. */
static void play_connections(void)
{
	static char text[sizeof(pending) / 4];

	for (int reading = 0; reading < 3; reading++) {
		FILE *file = fopen("/proc/net/ip_vs_conn", "r");
		size_t length;

		if (!file)
			fail("/proc/net/ip_vs_conn");
		length = fread(text, 1, sizeof(text), file);
		if (length == sizeof(text)) {
			errno = EOVERFLOW;
			fail("/proc/net/ip_vs_conn");
		}
		fclose(file);
		add_answer(text, length);
	}
	end_answers();
}

int main(int argc, char **argv)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct frame frames[BATCH], discarded;
	unsigned char *steps, *at;
	unsigned int count = 0;
	uint16_t family;
	bool outgoing;
	size_t size;
	int netlink;

	if (argc != 5) {
		fprintf(stderr, "usage: player STEPS ANSWERS WIRE DEVICE\n");
		return 2;
	}
	/* What has to be fetched once the play has begun would take time. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		fail("mlockall");
	steps = read_file(argv[1], &size);
	answers = fopen(argv[2], "w");
	if (!answers)
		fail(argv[2]);
	setvbuf(answers, NULL, _IOFBF, 1 << 20);
	wire = packet_socket(argv[3], 0);
	device = packet_socket(argv[4], ETH_P_ALL);
	netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	if (netlink < 0 || connect(netlink, (struct sockaddr *)&kernel, sizeof(kernel)))
		fail("netlink");
	family = family_id(netlink, "IPVS");
	while (next_seen(&discarded, &outgoing))
		;
	for (at = steps; at < steps + size;) {
		struct step *step = (void *)at;

		at += sizeof(*step);
		if (count && (step->kind != 'F' || count == BATCH)) {
			play_frames(frames, count);
			count = 0;
		}
		if (step->kind == 'F')
			frames[count++] = (struct frame){ at, step->length };
		else if (step->kind == 'N')
			play_change(netlink, family, step, at);
		else if (step->kind == 'C')
			play_connections();
		else
			play_pause(at);
		at += NLA_ALIGN(step->length);
	}
	if (count)
		play_frames(frames, count);
	if (fclose(answers))
		fail(argv[2]);
	return 0;
}
