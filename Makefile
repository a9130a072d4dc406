# SPDX-License-Identifier: Apache-2.0
# make: build everything into build/. Quiet; V=1 shows the commands.
.DEFAULT_GOAL := all
CLANG ?= clang
CC := gcc
Q := $(if $(V),,@)
NODE_INCLUDE := $(shell node -p "require('path').resolve(process.execPath,'../../include/node')")
MULTIARCH := $(shell $(CC) -print-multiarch)
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Werror -idirafter /usr/include/$(MULTIARCH)

all: bpf native typescript

bpf: build/bpf/director.bpf.o
build/bpf/director.bpf.o: bpf/director.bpf.c $(wildcard bpf/*.h bpf/*/*.h)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
	$(Q)llvm-strip -g $@

native: build/native/xlb.node
build/native/xlb.node: $(wildcard native/*.c native/*.h)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -Wall -Wextra -Werror -fPIC -shared -I$(NODE_INCLUDE) native/*.c -o $@ -lbpf -lpcre2-8

typescript: node_modules/.package-lock.json
	$(Q)npx tsc -p .
node_modules/.package-lock.json: package.json package-lock.json
	$(Q)npm ci --no-fund --no-audit --loglevel=error

.PHONY: all bpf native typescript
