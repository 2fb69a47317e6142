# One word for each habit; the work is done by meson, ninja and tools/*.
# `make` leaves build/moat and build/moat-monitor, which run from there.

BUILD ?= build
T ?=
S ?= 60

all:
	@tools/build $(BUILD)

demo: # installs what it needs, builds, makes an image and runs it
	@tools/demo

unit: all # under ten seconds
	@meson test -C $(BUILD) --print-errorlogs

test: # everything this machine allows; says what it skipped and why
	@tools/test

check: all # format, layers, banned calls, headers alone, symbols, links, clang-tidy ...
	@tools/check $(BUILD)

asan: # unit tests and the system tests of `run` under the address and undefined sanitizers
	@tools/sanitize address,undefined

tsan: # unit tests of what uses threads under the thread sanitizer
	@tools/sanitize thread

system: all # needs root; T=run.bats or T="run.bats load.bats" for some
	@tools/system $(BUILD) $(T)

lab: all # the system tests in the lab (docs/lab.md); needs root; T=run.bats or T="a test's name" for some
	@tools/lab $(BUILD) $(if $(T),"$(T)")

lab-shell: all # a prompt in the lab
	@tools/lab --shell $(BUILD)

bench: all
	@bench/run

fuzz: # make fuzz T=tar S=60; without T each target in turn
	@tools/fuzz "$(T)" "$(S)"

fmt:
	@find src tests bench -name '*.[ch]' -exec clang-format -i {} +

clean:
	rm -rf build build-asan build-tsan build-clang build-fuzz

man: all # build/man, from the help and docs/man; needs scdoc
	@tools/man $(BUILD)

install: all # with the manual pages where scdoc is there
	meson install -C $(BUILD) --no-rebuild

.PHONY: all demo unit test check asan tsan system lab lab-shell bench fuzz fmt clean man install
