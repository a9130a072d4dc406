/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood OBJECT INTERFACE TO-MAC SOURCE DESTINATION PORT FLOWS SECONDS
 *
 * Sends UDP datagrams by the interface as fast as one CPU can, in so many flows, and prints how many and in how many
 * nanoseconds. They are frames of a driver and no socket's packets (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18): what
 * receives them meets what it meets behind a network card.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flood.h"

#define REPEAT 8192 /* packets of one system call */
#define NANOSECONDS 1000000000ULL
#define ARGUMENTS 8

static void fail(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

static uint16_t header_checksum(const void *header)
{
	uint16_t words[sizeof(struct iphdr) / 2];
	uint32_t sum = 0;

	memcpy(words, header, sizeof(words));
	for (unsigned int i = 0; i < sizeof(words) / sizeof(*words); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static struct flood_options read_options(char **argv)
{
	struct flood_options options = {
		.model = {
			.ethernet.h_proto = htons(ETH_P_IP),
			.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
				.frag_off = htons(0x4000),
				.tot_len = htons(sizeof(struct iphdr) + sizeof(struct udphdr)),
				.saddr = inet_addr(argv[4]), .daddr = inet_addr(argv[5]) },
			.udp = { .dest = htons(atoi(argv[6])), .len = htons(sizeof(struct udphdr)) },
		},
		.flows = atoi(argv[7]),
		.out = if_nametoindex(argv[2]),
	};
	struct ether_addr to;

	if (!options.out)
		fail(argv[2]);
	if (!ether_aton_r(argv[3], &to) || !options.flows) {
		errno = EINVAL;
		fail("arguments");
	}
	memcpy(options.model.ethernet.h_dest, &to, ETH_ALEN);
	options.model.ethernet.h_source[0] = 2;
	options.model.ip.check = header_checksum(&options.model.ip);
	return options;
}

static int load(const char *path, const struct flood_options *options)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_map *data;

	if (!object)
		fail(path);
	data = bpf_object__find_map_by_name(object, ".data");
	if (!data || bpf_map__set_initial_value(data, options, sizeof(*options)))
		fail(path);
	if (bpf_object__load(object))
		fail("load");
	return bpf_program__fd(bpf_object__find_program_by_name(object, "flood"));
}

int main(int argc, char **argv)
{
	unsigned char frame[64] = {};
	uint64_t start, end, packets = 0;
	struct flood_options options;
	int program;

	if (argc != ARGUMENTS + 1) {
		fprintf(stderr,
			"usage: flood OBJECT INTERFACE TO-MAC SOURCE DESTINATION PORT FLOWS SECONDS\n");
		return 2;
	}
	options = read_options(argv);
	program = load(argv[1], &options);
	start = now();
	end = start + atoi(argv[8]) * NANOSECONDS;
	while (now() < end) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame),
			    .repeat = REPEAT, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);

		if (bpf_prog_test_run_opts(program, &run))
			fail("run");
		packets += REPEAT;
	}
	printf("%llu %llu\n", (unsigned long long)packets, (unsigned long long)(now() - start));
	return 0;
}
