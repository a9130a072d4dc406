# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Everything is made in build/. Quiet; V=1 shows the commands.
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
CLANG ?= clang
CC := gcc
PREFIX ?= /usr/local
Q := $(if $(V),,@)
# How this machine's own director is run is nothing to tests and demo.
unexport XLB_STATE_DIR XLB_BPFFS XLB_METRICS XLB_PLANE XLB_INTERFACES XLB_TABLE_SIZE XLB_DAMP_FLAPPING \
	XLB_STOP_FALLBACK_COMMANDS XLB_VERIFY_TLS XLB_SETTINGS

# The folder of Node's own headers; asked for only when the addon is compiled.
NODE_INCLUDE = $(shell node -p "require('path').resolve(process.execPath,'../../include/node')")
MULTIARCH = $(shell $(CC) -print-multiarch)
BPF_CFLAGS = -target bpf -mcpu=v3 -O2 -g -Wall -Werror -Ibpf -idirafter /usr/include/$(MULTIARCH)

typescript_sources := $(shell find src test scripts bench demo -name '*.ts' 2>/dev/null)
c_sources := $(shell find bpf native test bench -name '*.[ch]' 2>/dev/null)
test_sources := $(sort $(filter test/%.test.ts,$(typescript_sources)))
# Tests that need root: they load programs and make network namespaces. Without root they are skipped, each saying why.
root_tests := $(filter test/bench/% test/bpf/% test/native/% test/dataplane/% test/network/% test/lab/% test/guest/%,$(test_sources))
unit_tests := $(filter-out $(root_tests),$(test_sources))
concurrency = 4
# Milliseconds that a file may take; the longest starts an emulated machine, on a busy one.
limit = 1500000
run_tests = node --enable-source-maps --test --test-reporter=spec --test-concurrency=$(concurrency) --test-timeout=$(limit) $(patsubst %.ts,build/%.js,$(1))

all: build-packages bpf native typescript ## build everything (the default); bin/xlb runs it

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

# --- building

bpf: build/bpf/director.bpf.o ## compile the data path
build/bpf/director.bpf.o: bpf/director.bpf.c $(wildcard bpf/*.h bpf/*/*.h) | build-packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
	$(Q)llvm-strip -g $@

native: build/native/xlb.node ## compile the Node-API addon
build/native/xlb.node: $(wildcard native/*.c native/*.h) | build-packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -Wall -Wextra -Werror -fPIC -shared -I$(NODE_INCLUDE) native/*.c -o $@ -lbpf -lpcre2-8

typescript: build/typescript.stamp ## compile the control plane and the tests
build/typescript.stamp: $(typescript_sources) tsconfig.json node_modules/.package-lock.json
	$(Q)mkdir -p $(@D)
	$(Q)npx tsc -p . --incremental --tsBuildInfoFile build/.tsbuildinfo
	$(Q)touch $@

node_modules/.package-lock.json: package.json package-lock.json | build-packages
	$(Q)npm ci --no-fund --no-audit --loglevel=error
	$(Q)touch $@

# What the data path's header declares, for TypeScript; committed, and `make check` fails when it differs.
generate: bpf build/scripts/generate-layout.js ## write src/dataplane/xdp/layout.generated.ts from the data path's types
	$(Q)node build/scripts/generate-layout.js
# Compiled by itself, because the rest may not compile until the layout is there.
build/scripts/generate-layout.js: scripts/generate-layout.ts scripts/elf.ts node_modules/.package-lock.json
	$(Q)npx tsc --ignoreConfig --noCheck --rewriteRelativeImportExtensions --target es2023 --module nodenext --rootDir . --outDir build $<
	$(Q)touch $@

# Programs of the tests: build/test-bpf/NAME.bpf.o from NAME.bpf.c in test/support or test/native.
test_program = build/test-bpf/$(notdir $(1:.c=.o))
test_programs := $(foreach source,$(wildcard test/support/*.bpf.c test/native/*.bpf.c),$(call test_program,$(source)))
test-bpf: $(test_programs)
vpath %.bpf.c test/support test/native
build/test-bpf/%.bpf.o: %.bpf.c | build-packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# What plays frames to the kernel's IPVS in a guest.
test-guest-player: build/test-guest/player
build/test-guest/player: test/guest/player.c | build-packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -Wall -Wextra -Werror $< -o $@

# What is missing is installed; when nothing is, this takes milliseconds.
build-packages lab-packages server-packages ldirectord-packages check-packages guest-packages kernels-packages:
	$(Q)scripts/install-packages $(@:-packages=)

# ldirectord and its resource agent, which tests compare with and drive: unpacked, not installed.
build/debian: scripts/unpack-packages | ldirectord-packages
	$(Q)scripts/unpack-packages $@ ldirectord resource-agents
	$(Q)touch $@

man: typescript ## write man/*.1 from the definitions of the commands
	$(Q)node build/scripts/generate-man.js

# --- looking at it

demo: all lab-packages test-bpf ## show the product at work in network namespaces (root)
	$(Q)node --enable-source-maps build/demo/demo.js

lab: all lab-packages test-bpf ## set up the demo's network and keep it, to play with (root)
	$(Q)node --enable-source-maps build/demo/lab.js up

lab-down: ## remove what `make lab` has set up
	$(Q)node --enable-source-maps build/demo/lab.js down

bench: all bench-bpf ## measure what a packet costs (root); BENCH=--quick for a minute of it, --json FILE, --help
	$(Q)node --enable-source-maps build/bench/main.js $(BENCH)

bench-checks: all lab-packages ## measure what health checks cost; BENCH="--leak 100000" for what they leave behind
	$(Q)node --enable-source-maps build/bench/checks.js $(BENCH)

# On Linux 6.12, in an emulated machine, because what runs here may lack IPVS; of one CPU, for QEMU does not always show
# another what a kernel has written anew in its own code.
bench-planes: all bench-bpf build/bench-bpf/flood lab-packages guest-packages kernels-packages ## packets a second by forwarding, by IPVS and by XDP, in a guest
	$(Q)scripts/run-on-kernel --cpus 1 6.12 unshare --net node --enable-source-maps build/bench/planes.js $(BENCH)

build/bench-bpf/flood: bench/flood.c bench/flood.h | build-packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -Wall -Wextra -Werror $< -o $@ -lbpf

# The packet generator of `make bench`, and what the director is measured by.
bench_programs := $(patsubst bench/%.c,build/bench-bpf/%.o,$(wildcard bench/*.bpf.c))
bench-bpf: $(bench_programs)
build/bench-bpf/%.bpf.o: bench/%.bpf.c bench/plan.h bench/flood.h | build-packages
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# --- testing

test: all lab-packages guest-packages kernels-packages server-packages build/debian test-bpf bench-bpf test-guest-player ## every test that can run here; as root also those with programs and namespaces
	$(Q)$(call run_tests,$(test_sources))

test-unit: all ## the tests that need no root
	$(Q)$(call run_tests,$(unit_tests))

test-root: all lab-packages guest-packages kernels-packages test-bpf bench-bpf test-guest-player ## the tests that load programs and make network namespaces
	$(Q)$(call run_tests,$(root_tests))

test-guest: all lab-packages guest-packages kernels-packages test-bpf test-guest-player ## every comparison with the kernel's IPVS, played in a guest: some minutes
	$(Q)XLB_GUEST=all $(call run_tests,$(filter test/guest/%,$(test_sources)))

golden-schedulers: all guest-packages kernels-packages test-guest-player ## record anew what the kernel's schedulers choose
	$(Q)node --enable-source-maps build/test/guest/record.js

# From the oldest kernel that is supported on.
kernels := 6.1 6.12
kernel_tests := $(filter test/bpf/% test/dataplane/attach% test/lab/gate-one-arm% test/lab/planes%,$(test_sources))
# Emulated machines, all at once; what one says comes when it is done.
test-kernels: all lab-packages kernels-packages test-bpf ## the data path on older kernels, emulated: a quarter of an hour
	$(Q)$(MAKE) --jobs --keep-going --output-sync $(kernels:%=test-on-%)

test-on-%: concurrency = 1
test-on-%: limit = 3600000
test-on-%:
	@echo "Linux $*:"
	$(Q)scripts/run-on-kernel --timeout 7200 $* $(call run_tests,$(kernel_tests)) || [ $$? = 77 ]

check: all check-packages ## format, lint, types, generated files, unit tests
	$(Q)npx prettier --check --log-level warn '**/*.ts' '*.js'
	$(Q)clang-format --dry-run -Werror $(c_sources)
	$(Q)npx eslint .
	$(Q)node build/scripts/generate-layout.js --check
	$(Q)$(call run_tests,$(unit_tests))

format: check-packages node_modules/.package-lock.json ## lay out all sources as `make check` wants them
	$(Q)npx prettier --write --log-level warn '**/*.ts' '*.js'
	$(Q)clang-format -i $(c_sources)

# --- installing

# One self-contained folder, and links to it; DESTDIR for packagers. Not compiled here: run make first.
lib = $(DESTDIR)$(PREFIX)/lib/xlb
install: ## install into PREFIX (/usr/local), with man pages and a systemd unit
	@test -f build/native/xlb.node -a -f build/bpf/director.bpf.o -a -f build/typescript.stamp || \
		{ echo "not built yet: run make first"; exit 1; }
	$(Q)rm -rf $(lib)
	$(Q)install -d $(lib)/bin $(lib)/build $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(Q)install -m 755 bin/xlb $(lib)/bin/xlb
	$(Q)cp -P bin/ldirectord bin/ipvsadm $(lib)/bin
	$(Q)install -m 644 package.json LICENSE $(lib)
	$(Q)cp -R LICENSES $(lib)
	$(Q)cp -R build/src build/native build/bpf $(lib)/build
	$(Q)npm ls --omit=dev --all --parseable | sed -n 's,^$(CURDIR)/,,p' | xargs cp -R --parents -t $(lib)
	$(Q)ln -sfn ../lib/xlb/bin/xlb $(DESTDIR)$(PREFIX)/bin/xlb
	$(Q)sed 's,@bindir@,$(PREFIX)/bin,' systemd/xlb.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/xlb.service
	$(Q)for page in $(wildcard man/*.[1-8]); do \
		install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$${page##*.} $$page; done

uninstall: ## remove what install has put there
	$(Q)rm -rf $(lib) $(DESTDIR)$(PREFIX)/bin/xlb $(DESTDIR)$(PREFIX)/lib/systemd/system/xlb.service
	$(Q)rm -f $(foreach page,$(wildcard man/*.[1-8]),$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))

clean: ## remove build/
	$(Q)rm -rf build

.PHONY: all help bpf native typescript generate man test-bpf bench-bpf bench-planes bench-checks test-guest-player test-guest golden-schedulers build-packages lab-packages server-packages ldirectord-packages check-packages guest-packages kernels-packages demo lab lab-down bench \
	test test-unit test-root test-kernels check format install uninstall clean
