#!/usr/bin/env bats
# soft - machines on the software CPU, which every host has.  That it is a machine like any other is shown
# by the suites of vm.bats; here, what is its own.
# One wall: vm, in its name.
# Not for the lab: it tests the same code on a processor that is itself emulated, minutes for each start.
load ../lib/common

soft() {
	"$MOAT" run --vm --accel soft "$@"
}

more_setup_file() {
	import_kernel
	# The first machine makes the guest's file system, which an engine keeps.
	soft --rm --network none busybox true
}

@test "the software CPU is there, and a machine says that it runs on it" {
	run -0 moat info
	[[ $output == *"Name: soft"*"Available: true"*"Boundary: seccomp"* ]]
	moat create --accel soft --name box busybox sleep 1000
	[[ $(moat inspect box) != *Accelerator* ]]
	moat start box
	[ "$(of box State Accelerator) $(of box State Boundary)" = 'soft seccomp' ]
	run -125 --separate-stderr "$MOAT" run --rm --accel soft busybox true
	one_line
	[[ $stderr == *"--accel soft is for a virtual machine"* ]]
	run -125 --separate-stderr "$MOAT" run --rm --vm --accel none busybox true
	one_line
	[[ $stderr == *'no such accelerator: "none"'* ]]
}

@test "a machine on the software CPU has a kernel of its own, a network, input, and its own exit status" {
	run -7 bash -c 'echo words | "$MOAT" run --vm --accel soft --rm -i -e GREETING=hello -w /tmp busybox sh -c "
		cat; cat /proc/sys/kernel/random/boot_id; id -u; pwd; echo \$GREETING
		ping -c 1 -W 5 \$(ip route | sed -n \"s/default via \\\\([^ ]*\\\\).*/\\\\1/p\") >/dev/null && echo reached
		wc -c /bin/busybox | cut -d\" \" -f1; sha256sum /bin/busybox | cut -d\" \" -f1; exit 7"'
	[ "${lines[0]}" = words ]
	[ "${lines[1]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
	[[ ${lines[1]} =~ ^[0-9a-f-]{36}$ ]]
	[ "${lines[2]} ${lines[3]} ${lines[4]}" = "0 /tmp hello" ]
	[ "${lines[5]}" = reached ]
	[ "${lines[6]}" = "$(stat -c %s /bin/busybox)" ]
	[ "${lines[7]}" = "$(sha256sum </bin/busybox | cut -d' ' -f1)" ]
}

@test "exec, signals and stop reach a machine on the software CPU, and it leaves nothing" {
	soft -d --name soft --network none busybox sh -c 'trap "exit 3" TERM; while :; do sleep 1; done'
	[ "$(moat exec soft sh -c 'expr 6 \* 7; kill -0 1 && echo there')" = $'42\nthere' ]
	moat stop -t 60 soft
	[ "$(moat wait soft)" = 3 ]
	moat rm soft
}

@test "two processors of the software CPU make one machine" {
	[ "$(soft --rm --network none --cpus 2 busybox sh -c '
		yes >/dev/null & yes >/dev/null & sleep 1; kill %1 %2; nproc')" = 2 ]
}

@test "programs that share a processor of the software CPU keep their registers, all that CPUID shows" {
	cc -O2 -static -o "$TEST_DIR/registers" "$MOAT_TOP/tests/lib/registers.c"
	run -0 soft --rm -i --cpus 1 --network none busybox sh -c 'cat >/registers; chmod +x /registers; /registers' <"$TEST_DIR/registers"
	echo "# $output" >&3
	[ "$output" = "$("$TEST_DIR/registers")" ] && [[ $output == *" kept" ]]
}

@test "pages that one processor of the software CPU takes away are gone on the other" {
	cc -O2 -static -pthread -o "$TEST_DIR/shootdown" "$MOAT_TOP/tests/lib/shootdown.c"
	run -0 soft --rm -i --cpus 2 --network none busybox sh -c 'cat >/shootdown; chmod +x /shootdown; /shootdown' <"$TEST_DIR/shootdown"
	[ "$output" = $'remapped: 0 wrong\nunmapped: 0 wrong\nprotected: 0 wrong\ncopied: 0 wrong' ]
}

@test "a 32-bit program computes on the software CPU what it computes on a processor" {
	cc -m32 -O2 -static -pthread -o "$TEST_DIR/program" "$MOAT_TOP/tests/lib/thirty_two.c" -lm
	run -0 soft --rm -i --network none busybox sh -c 'cat >/program; chmod +x /program; /program' <"$TEST_DIR/program"
	[ "$output" = "$(cat <<-'END'
		x87 2.30258509299404568 0.33333333333333331 15b39d43eff1a19b
		sse 71.2804 0.270554 8.14627 1.47124 d667331c 20602cc7
		integers 000385f6f415a245 a3181bac6cba7e46 65535 40000
		threads 20000 40000 60000 80000 0 1
		signals 7 0x1234 9
		both 123456789abcdef0 0
		processes 42 1 1
	END
	)" ]
}

@test "programs of a Debian image say the same in a container and on the software CPU" {
	moat load -q -i "$("$MOAT_TOP/tests/lib/images" debian)"
	cat >"$TEST_DIR/programs" <<-'END'
		set -e
		perl -e 'printf "%.17g %.17g %.17g\n", sin($_) * exp(-$_ / 7), sqrt($_), atan2($_, 3) ** 1.7 for 1 .. 2000' | sha256sum
		perl -e '%h = map { $_ => $_ * 7 % 1009 } 1 .. 20000; print join ",", sort { $h{$a} <=> $h{$b} || $a <=> $b } keys %h' | md5sum
		perl -e '@p = grep { my $n = $_; !grep { $n % $_ == 0 } 2 .. sqrt $n } 2 .. 4000; print "@p"' | sha1sum
		awk 'BEGIN { for (i = 0; i < 200000; i++) s += sin(i) / (i + 1); printf "%.15g\n", s }'
		find /usr/bin /usr/lib -xdev -type f -size -400k | sort | xargs cat | sha512sum
		tar -cf - -C /usr share/perl5 | gzip -9 | gzip -dc | sha256sum
		for i in 1 2 3 4 5 6 7 8; do seq $((i * 1000)) | sort -R --random-source=/usr/bin/perl | b2sum & done | sort
		wait
		dpkg-query -W | sha256sum
	END
	local wall
	for wall in container vm; do
		"$MOAT" run --isolation $wall --rm -i -m 512m --cpus 2 debian:12 bash <"$TEST_DIR/programs" >"$TEST_DIR/$wall"
	done
	[ "$(wc -l <"$TEST_DIR/vm")" = 15 ]
	diff "$TEST_DIR/container" "$TEST_DIR/vm"
}
