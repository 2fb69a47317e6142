#!/usr/bin/env bats
# fault - kill -9 and other accidents.  After each, one `moat ps` must suffice for an outside look to find
# nothing without an owner (THREATS section 5).
load ../lib/common

more_setup_file() {
	gcc -O1 -o "$FILE_DIR/killpoints" "$MOAT_TOP/tests/lib/killpoints.c"
}

# A failed test leaves no monitor stopped for the next one.
more_teardown() {
	[ -z "${stopped:-}" ] || kill -CONT "$stopped" 2>/dev/null || :
}

monitor_of() {
	local process
	while read -r process; do
		if tr '\0' ' ' <"$process/cmdline" | grep -q "$1" ||
			find "$process/fd" -lname "*$1*" 2>/dev/null | grep -q .; then
			echo "${process##*/}"
			return
		fi
	done < <(find /proc/[0-9]*/exe -maxdepth 0 -lname '*/moat-monitor*' -printf '%h\n' 2>/dev/null)
	return 1
}

no_monitor_of() {
	! monitor_of "$1" >/dev/null
}

# Kills COMMAND at every system call of its first process; after each kill repairs by one `moat ps`, calls
# the function SETTLE, and compares.
kill_everywhere() {
	local settle=$1 prepare=$2 total point stride status
	shift 2
	$prepare
	total=$("$FILE_DIR/killpoints" count "$@" 2>&1 >/dev/null </dev/null | tail -n 1)
	moat ps >/dev/null
	$settle
	leaks compare "$TEST_DIR/before" >&2
	[ "$total" -gt 20 ]
	stride=${MOAT_KILL_STRIDE:-1}
	# A machine takes seconds to start where there is no KVM.
	[ "$MOAT_WALL" = container ] || stride=$((stride < 41 ? 41 : stride))
	for ((point = 1; point <= total; point += stride)); do
		$prepare
		status=0
		"$FILE_DIR/killpoints" $point "$@" >/dev/null 2>&1 </dev/null || status=$?
		[ $status -eq 0 ] || [ $status -eq 3 ]
		moat ps >/dev/null
		$settle
		leaks compare "$TEST_DIR/before" >&2 || {
			echo "after a kill at system call $point of $total" >&2
			return 1
		}
	done
	echo "# $total kill points of: moat ${*:2:1}" >&3
}

nothing() {
	:
}

# ---- kill -9 of the command ----

# A workload that had already been started may run on; its end and its removal are its monitor's.
ended_all() {
	local id
	for id in $(moat ps -aq); do
		moat rm -f "$id" >/dev/null
	done
}

@test "cli_killed_at_every_syscall of run" {
	kill_everywhere ended_all nothing "$MOAT" run --isolation "$MOAT_WALL" --rm --name killed busybox true
}

@test "cli_killed_at_every_syscall of run -d" {
	kill_everywhere ended_all nothing "$MOAT" run --isolation "$MOAT_WALL" -d --network none --name killed busybox sleep 1000
}

make_one() {
	moat create --name killed busybox true >/dev/null
}

# Either it is whole or it is gone.
gone_or_whole() {
	if moat inspect killed >/dev/null 2>&1; then
		moat start -a killed
		moat rm killed >/dev/null
	fi
}

@test "cli_killed_at_every_syscall of rm" {
	kill_everywhere gone_or_whole make_one "$MOAT" rm killed
}

# A disk that has its name is whole.
gone_or_with_disk() {
	if moat inspect killed >/dev/null 2>&1; then
		e2fsck -fn "$MOAT_ROOT/workloads/$(of killed Id)/upper.ext4" >/dev/null
		moat rm killed >/dev/null
	fi
	[ -z "$(ls "$MOAT_ROOT/workloads")" ]
}

@test "cli_killed_at_every_syscall of create --isolation vm" {
	kill_everywhere gone_or_with_disk nothing "$MOAT" create --isolation vm --name killed busybox true
}

make_archive() {
	[ -e "$FILE_DIR/small.tar" ] || "$MOAT_TOP/tests/lib/mkimage.py" docker-archive "$FILE_DIR/small.tar" \
		--copy bin/busybox="$(command -v busybox)" --file a=1 --layer --file b=2 --tag small:1
}

# An image that is there must run; what is not there left nothing.
image_gone_or_whole() {
	if moat image inspect small:1 >/dev/null 2>&1; then
		[ "$(moat run --rm --network none small:1 /bin/busybox cat /a /b)" = 12 ]
		moat rmi small:1 >/dev/null
	fi
}

@test "cli_killed_at_every_syscall of load" {
	make_archive
	kill_everywhere image_gone_or_whole nothing "$MOAT" load -q -i "$FILE_DIR/small.tar"
}

@test "a killed attached run leaves its workload running" {
	"$MOAT" run --isolation "$MOAT_WALL" --name left busybox sh -c 'while :; do echo tick; sleep 0.1; done' >"$TEST_DIR/out" &
	local pid=$!
	eventually grep -q tick "$TEST_DIR/out"
	kill -9 $pid
	wait $pid || :
	state_is left running
	local lines
	lines=$(moat logs left | wc -l)
	eventually eval '[ "$(moat logs left | wc -l)" -gt $((lines + 2)) ]'
	moat stop -t 1 left
}

# ---- the monitor ----

@test "monitor_killed_and_adopted: the workload goes on, logs go on, it can be stopped" {
	local id monitor pid
	id=$(moat run -d --name orphan busybox sh -c \
		'trap "exit 5" TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done')
	eventually logs_have orphan 'line 2'
	pid=$(of orphan State Pid)
	monitor=$(monitor_of "$id")
	kill -9 "$monitor"
	eventually eval "! kill -0 $monitor 2>/dev/null"
	state_is orphan running
	[ "$(of orphan State Pid)" = "$pid" ]
	local last
	last=$(moat logs --tail 1 orphan)
	eventually logs_have orphan "line $((${last#line } + 5))"
	[ "$(moat exec orphan echo alive)" = alive ]
	moat stop -t 5 orphan
	state_is orphan exited
	# The status is known, or said to be unknown; it is never invented.
	local status
	status=$(of orphan State ExitCode)
	[ "$status" = 5 ] || [[ $(moat ps -a --filter name=orphan) == *nknown* ]]
}

@test "no line that was written before the monitor's death is lost, none comes twice" {
	local id
	id=$(moat run -d --name counter busybox sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; sleep 0.01; done; sleep 1000')
	eventually logs_have counter 50
	kill -9 "$(monitor_of "$id")"
	moat ps >/dev/null
	eventually eval '[ "$(moat logs --tail 1 counter)" = 300 ]'
	# What stood in the pipe between monitor and log at that moment is the most that may be lost.
	local missing
	missing=$(comm -13 <(moat logs counter | sort -u) <(seq 300 | sort) | wc -l)
	[ "$missing" -le 1 ]
	[ "$(moat logs counter | sort | uniq -d | wc -l)" -eq 0 ]
}

@test "a workload whose monitor was killed may end by itself" {
	local id
	id=$(moat run -d --name orphan -i busybox sh -c 'sleep '$((1 * SLOW))'; exit 9')
	kill -9 "$(monitor_of "$id")"
	eventually state_is orphan exited
	local status
	status=$(of orphan State ExitCode)
	[ "$status" = 9 ] || [[ $(moat ps -a --filter name=orphan) == *nknown* ]]
	moat start orphan
	moat rm -f orphan
}

@test "a stopped monitor does not delay ps, inspect, or other workloads" {
	local id monitor begin
	id=$(moat run -d --name held busybox sleep 1000)
	moat run -d --name other busybox sleep 1000
	monitor=$(monitor_of "$id")
	stopped=$monitor
	kill -STOP "$monitor"
	begin=$(date +%s%N)
	run -0 moat ps
	local took_ms=$((($(date +%s%N) - begin) / 1000000))
	echo "# ps took $took_ms ms with a stopped monitor" >&3
	[ $took_ms -lt $((500 * SLOW)) ]
	[[ $output == *held* && $output == *other* ]]
	run -0 moat inspect held
	run -0 moat rm -f other
	# hung_NAME: rm -f completes.
	run -0 timeout 30 "$MOAT" rm -f held
}

@test "a workload that is stopped by SIGSTOP can be removed" {
	moat run -d --name frozen busybox sleep 1000
	kill -STOP "$(of frozen State Pid)"
	run -0 timeout 30 "$MOAT" rm -f frozen
}

@test "the init killed from outside is an exit with 137" {
	moat run -d --name shot busybox sleep 1000
	kill -9 "$(of shot State Pid)"
	eventually state_is shot exited
	[ "$(of shot State ExitCode)" = 137 ]
}

# ---- many at once ----

# crowd: how many clients that is; fewer where the processor is emulated, and of machines fewer still.
crowd() {
	if [ "$MOAT_WALL" = vm ]; then
		echo 4
	elif [ -n "${MOAT_LAB:-}" ]; then
		echo 20
	else
		echo 100
	fi
}

@test "hundred_clients: 100 parallel run --rm" {
	local i failed=0 pids=() clients
	clients=$(crowd)
	for ((i = 1; i <= clients; i++)); do
		moat run --rm busybox sh -c "exit $((i % 50))" &
		pids+=($!)
	done
	for ((i = 1; i <= clients; i++)); do
		local status=0
		wait "${pids[i - 1]}" || status=$?
		[ $status -eq $((i % 50)) ] || { echo "run $i ended with $status" >&2; failed=1; }
	done
	[ $failed -eq 0 ]
	[ -z "$(moat ps -aq)" ]
}

@test "100 parallel run -d and rm -f" {
	local i pids=() clients
	clients=$(crowd)
	for ((i = 1; i <= clients; i++)); do
		{ moat run -d --name "many$i" busybox sleep 1000 && moat rm -f "many$i"; } >/dev/null &
		pids+=($!)
	done
	for ((i = 1; i <= clients; i++)); do
		wait "${pids[i - 1]}"
	done
	[ -z "$(moat ps -aq)" ]
}

@test "one winner for a name that twenty want" {
	local i pids=() winners=0
	for i in {1..20}; do
		moat run -d --name wanted busybox sleep 1000 >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in {1..20}; do
		if wait "${pids[i - 1]}"; then winners=$((winners + 1)); fi
	done
	[ $winners -eq 1 ]
	[ "$(moat ps -aq | wc -l)" -eq 1 ]
}

@test "a first process that has ended before anybody looked still says why" {
	"$MOAT_TOP/tests/lib/mkimage.py" docker-archive "$TEST_DIR/i" --copy bin/busybox="$(command -v busybox)" \
		--symlink dev=/tmp --dir tmp --tag links:dev
	moat load -q -i "$TEST_DIR/i"
	run -125 --separate-stderr strace -o /dev/null -e trace=pidfd_open -e inject=pidfd_open:delay_enter=500000 \
		"$MOAT" run --rm --network none --isolation "$MOAT_WALL" links:dev /bin/busybox true
	one_line
	[[ $stderr == *"the image leads it elsewhere by a symbolic link"* ]]
}

@test "looking at workloads while they are made disturbs nobody" {
	local i
	timeout 60 sh -c 'while :; do "$MOAT" ps -aq >/dev/null; done' &
	local looker=$!
	for ((i = 0; i < 600 / SLOW; i++)); do
		moat create busybox true >/dev/null
	done
	kill $looker
	moat ps -aq | xargs "$MOAT" rm >/dev/null
}

# Of 25,000 names, some of so many are made up twice.
@test "a made-up name that is taken is made up anew" {
	local count=$((400 / SLOW))
	seq $count | xargs -n 1 -P 4 sh -c '"$MOAT" create busybox true >/dev/null || exit 255'
	[ "$(moat ps -aq | wc -l)" -eq $count ]
	moat ps -aq | xargs "$MOAT" rm >/dev/null
}

@test "twenty loads of one archive at once are one image" {
	make_archive
	local i pids=()
	for i in {1..20}; do
		moat load -q -i "$FILE_DIR/small.tar" >/dev/null &
		pids+=($!)
	done
	for i in {1..20}; do
		wait "${pids[i - 1]}"
	done
	[ "$(moat images -q small | wc -l)" -eq 1 ]
	[ "$(moat run --rm --network none small:1 /bin/busybox cat /a /b)" = 12 ]
	moat rmi small:1
}

# ---- calls that fail ----

@test "every_call_fails_once: one clear line and nothing left" {
	# strace makes one call of the CLI itself fail; what it started is left alone.
	local call error count=0 injected=0 status least=40 places='1 2 3 5 8 13'
	if [ "$MOAT_WALL" = vm ]; then
		least=10 places='2 5'
	fi
	for call in openat:ENOSPC openat:EMFILE mkdirat:ENOSPC mkdir:ENOSPC socket:EMFILE mount:EPERM \
		clone3:ENOMEM clone:ENOMEM fork:ENOMEM mknodat:ENOSPC linkat:ENOSPC fsync:EIO pwrite64:ENOSPC \
		renameat2:ENOSPC renameat:ENOSPC openat2:ENOMEM open_tree:ENOMEM move_mount:EPERM fsopen:ENOMEM \
		pipe2:EMFILE epoll_create1:EMFILE pidfd_open:EMFILE flock:ENOLCK; do
		for nth in $places; do
			error=${call#*:}
			status=0
			# Only calls that are traced can be made to fail.
			timeout 60 strace -o "$TEST_DIR/calls" -e "trace=${call%:*}" \
				-e "inject=${call%:*}:error=$error:when=$nth" \
				"$MOAT" run --isolation "$MOAT_WALL" --rm --name faulty busybox true >/dev/null 2>"$TEST_DIR/said" || status=$?
			! grep -q INJECTED "$TEST_DIR/calls" || injected=$((injected + 1))
			# The loader may be the one whose call fails: 127 and a line of its own.
			[ $status -eq 0 ] || [ $status -eq 125 ] || [ $status -eq 127 ] || {
				echo "$call at $nth: status $status: $(cat "$TEST_DIR/said")" >&2
				return 1
			}
			[ $status -eq 0 ] || [ -s "$TEST_DIR/said" ]
			moat ps >/dev/null
			ended_all
			# A mount that failed is not kept warm: the next run makes it again.
			leaks compare "$TEST_DIR/before" >/dev/null 2>&1 || moat run --rm busybox true
			leaks compare "$TEST_DIR/before" >&2 || {
				echo "after $call failed with $error at $nth" >&2
				return 1
			}
			count=$((count + 1))
		done
	done
	echo "# $count runs, in $injected of them a call failed" >&3
	[ $injected -ge $least ]
}
