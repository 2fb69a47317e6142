#!/usr/bin/env bats
# run - the first thing a user does, with Docker's flags, output and exit codes.
load ../lib/common

# ---- how it ends ----

@test "run ends with the status of its command" {
	run -0 moat run --rm busybox true
	run -1 moat run --rm busybox false
	run -42 moat run --rm busybox sh -c 'exit 42'
}

@test "run prints what the command prints, on the same streams" {
	run --separate-stderr -0 moat run --rm busybox sh -c 'echo out; echo err >&2'
	[ "$output" = out ]
	[ "$stderr" = err ]
}

@test "run prints the last bytes also without a newline" {
	[ "$(moat run --rm busybox printf abc)" = abc ]
}

@test "a million bytes of output arrive whole" {
	[ "$(moat run --rm busybox sh -c 'yes 0123456789abcde | head -c 4000000' | sha256sum)" = \
		"$(yes 0123456789abcde | head -c 4000000 | sha256sum)" ]
}

@test "a reader that goes away ends the output, not the test" {
	run -0 bash -c "'$MOAT' run --isolation '$MOAT_WALL' --rm busybox sh -c 'yes | head -n 100000' | head -n 1"
	[ "$output" = y ]
}

@test "a command that does not exist is 127" {
	run --separate-stderr -127 moat run --rm busybox /no/such
	one_line
	run -127 moat run --rm busybox no-such
}

@test "a command that is not executable is 126" {
	run --separate-stderr -126 moat run --rm busybox /etc/passwd
	one_line
	run -126 moat run --rm busybox /etc
}

@test "an unknown image is 125 and names the image" {
	run --separate-stderr -125 moat run --rm nosuch:tag true
	one_line
	[[ $stderr == *nosuch* ]]
}

@test "an unknown flag is 125 and names the flag" {
	run --separate-stderr -125 moat run --no-such-flag busybox true
	[[ $stderr == *no-such-flag* ]]
}

@test "an unknown user is 125 and names the user" {
	run --separate-stderr -125 moat run --rm -u nosuch busybox true
	one_line
	[[ $stderr == *nosuch* ]]
}

@test "a working directory that cannot be made is 125 and names it" {
	local directory
	for directory in /etc/passwd /etc/passwd/below /proc/none; do
		run --separate-stderr -125 moat run --name nowhere -w "$directory" busybox true
		one_line
		[[ $stderr == *$directory* ]]
		[ -z "$(moat ps -aq)" ]
	done
}

@test "a killed workload is 128 and the signal" {
	moat run --name victim busybox sh -c 'echo ready; exec sleep 1000' >"$TEST_DIR/out" &
	local pid=$!
	eventually grep -q ready "$TEST_DIR/out"
	moat kill victim
	local status=0
	wait $pid || status=$?
	[ $status -eq 137 ]
}

@test "run without --rm leaves an exited workload with its status" {
	run -3 moat run --name kept busybox sh -c 'exit 3'
	state_is kept exited
	[ "$(of kept State ExitCode)" = 3 ]
}

@test "run --rm leaves nothing" {
	run -0 moat run --rm --name gone busybox true
	[ -z "$(moat ps -aq)" ]
	run ! moat inspect gone
}

@test "run --rm also removes a workload whose command does not exist" {
	run -127 moat run --rm busybox /no/such
	[ -z "$(moat ps -aq)" ]
}

# ---- detached ----

@test "run -d prints the id, 64 hex digits, and returns" {
	run -0 moat run -d busybox sleep 1000
	[[ $output =~ ^[0-9a-f]{64}$ ]]
	state_is "$output" running
}

@test "run -d of a command that does not exist is 127" {
	run -127 moat run -d busybox /no/such
}

@test "run -d --rm removes itself at its end" {
	moat run -d --rm --name brief busybox true
	eventually eval '[ -z "$(moat ps -aq)" ]'
}

# ---- names ----

@test "a name in use is refused, and the workload that has it stays" {
	moat run -d --name taken busybox sleep 1000
	run --separate-stderr -125 moat run --name taken busybox true
	one_line
	[[ $stderr == *taken* ]]
	state_is taken running
	[ "$(moat ps -aq | wc -l)" -eq 1 ]
}

@test "a name is free again after rm" {
	moat run --name again busybox true
	moat rm again
	moat run --name again busybox true
}

@test "names that Docker refuses are refused" {
	local name
	for name in '' -x a/b 'a b' .hidden; do
		run -125 moat run --rm --name "$name" busybox true
	done
}

@test "without --name a name is made up" {
	local id
	id=$(moat run -d busybox sleep 1000)
	[[ $(of "$id" Name) =~ ^/?[a-z]+_[a-z]+[0-9]*$ ]]
}

# ---- standard input and terminals ----

@test "run -i passes standard input and its end" {
	[ "$(echo hello | moat run -i --rm busybox cat)" = hello ]
	[ "$(head -c 3000000 /dev/zero | moat run -i --rm busybox wc -c)" -eq 3000000 ]
}

@test "without -i standard input is empty" {
	[ -z "$(echo hello | moat run --rm busybox cat)" ]
}

@test "run -t gives a terminal" {
	run -0 tty_run -- "$MOAT" run --isolation "$MOAT_WALL" --rm -t busybox tty
	[[ $output == *//dev/pts/* || $output == */dev/pts/* || $output == */dev/console* ]]
}

@test "without -t there is no terminal" {
	run -1 moat run --rm busybox tty
}

@test "the terminal has the window's size, and follows it" {
	run -0 tty_run 'expect=# ' 'send=stty size\n' 'expect=24 80' resize=33x120 \
		'send=sleep 0.3; stty size\n' 'expect=33 120' 'send=exit\n' \
		-- "$MOAT" run --isolation "$MOAT_WALL" --rm -it -e PS1='# ' busybox sh
}

@test "Ctrl-C reaches the workload's terminal" {
	run -7 tty_run 'expect=ready' 'send=\x03' \
		-- "$MOAT" run --isolation "$MOAT_WALL" --rm -it busybox sh -c 'trap "exit 7" INT; echo ready; while :; do sleep 0.1; done'
}

@test "Ctrl-C on a terminal reaches a workload that has none" {
	run -7 tty_run 'expect=ready' 'send=\x03' \
		-- "$MOAT" run --isolation "$MOAT_WALL" --rm busybox sh -c 'trap "exit 7" INT; echo ready; while :; do sleep 0.1; done'
}

@test "Ctrl-D on a terminal ends the input" {
	run -0 tty_run 'expect=ready' 'send=hello\n' 'expect=hello' eof \
		-- "$MOAT" run --isolation "$MOAT_WALL" --rm -it busybox sh -c 'echo ready; exec cat'
}

@test "the caller's terminal is as before afterwards" {
	run -0 tty_run -- sh -c 'before=$(stty -g); "$0" run --isolation "$MOAT_WALL" --rm -it busybox true; [ "$(stty -g)" = "$before" ]' "$MOAT"
}

@test "ctrl-p ctrl-q leaves a workload running" {
	run -0 tty_run 'expect=ready' 'send=\x10\x11' \
		-- "$MOAT" run --isolation "$MOAT_WALL" -it --name left busybox sh -c 'echo ready; sleep 1000'
	state_is left running
}

@test "--detach-keys are other keys, and the usual ones then go to the workload" {
	run -0 tty_run 'expect=ready' 'send=\x10\x11' 'send=\x01x' \
		-- "$MOAT" run --isolation "$MOAT_WALL" -it --name left --detach-keys ctrl-a,x busybox sh -c 'echo ready; sleep 1000'
	state_is left running
	run --separate-stderr -125 moat run --rm -it --detach-keys ctrl-,x busybox true
	one_line
}

@test "-t without a terminal on standard input is refused" {
	run --separate-stderr ! bash -c "echo | '$MOAT' run --isolation '$MOAT_WALL' --rm -it busybox true"
	[[ $stderr == *TTY* || $stderr == *terminal* ]]
}

@test "signals to the CLI go on to the workload" {
	"$MOAT" run --isolation "$MOAT_WALL" --name proxied busybox sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done' \
		>"$TEST_DIR/out" &
	local job=$! status=0
	eventually grep -q ready "$TEST_DIR/out"
	kill -TERM $job
	wait $job || status=$?
	[ $status -eq 9 ]
}

# ---- what the process gets ----

@test "-e sets, overrides, and takes from the caller" {
	image envy --busybox --env PATH=/bin --env FROM=image --env BOTH=image
	FROM_CALLER=yes run -0 moat run --rm -e BOTH=mine -e NEW=1 -e FROM_CALLER -e UNSET_ANYWHERE envy env
	[[ $'\n'$output$'\n' == *$'\nFROM=image\n'* ]]
	[[ $'\n'$output$'\n' == *$'\nBOTH=mine\n'* ]]
	[[ $'\n'$output$'\n' == *$'\nNEW=1\n'* ]]
	[[ $'\n'$output$'\n' == *$'\nFROM_CALLER=yes\n'* ]]
	[[ $output != *UNSET_ANYWHERE* ]]
}

@test "PATH, HOME and HOSTNAME are set as Docker sets them" {
	run -0 moat run --rm --hostname box busybox env
	[[ $output == *PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin* ]]
	[[ $output == *HOME=/root* ]]
	[[ $output == *HOSTNAME=box* ]]
	run -0 moat run --rm -u alice busybox env
	[[ $output == *HOME=/home/alice* ]]
	run -0 tty_run -- "$MOAT" run --isolation "$MOAT_WALL" --rm -t busybox env
	[[ $output == *TERM=xterm* ]]
}

@test "--env-file is read as Docker reads it" {
	printf '# comment\nA=1\n\nB=two words\nC="quoted"\nD\n' >"$TEST_DIR/env"
	D=caller run -0 moat run --rm --env-file "$TEST_DIR/env" -e A=2 busybox env
	[[ $output == *A=2* && $output == *'B=two words'* && $output == *'C="quoted"'* && $output == *D=caller* ]]
	run -125 moat run --rm --env-file "$TEST_DIR/nosuch" busybox env
	printf 'A=1\r\n  B=2\nE=\nLAST=no newline' >"$TEST_DIR/env"
	printf 'A=second\n' >"$TEST_DIR/more"
	run -0 moat run --rm --env-file "$TEST_DIR/env" --env-file "$TEST_DIR/more" busybox env
	[[ $'\n'$output$'\n' == *$'\nA=second\n'* && $'\n'$output$'\n' == *$'\nB=2\n'* ]]
	[[ $'\n'$output$'\n' == *$'\nE=\n'* && $'\n'$output$'\n' == *$'\nLAST=no newline\n'* ]]
	printf 'two words=1\n' >"$TEST_DIR/env"
	run --separate-stderr -125 moat run --rm --env-file "$TEST_DIR/env" busybox env
	one_line
	[[ $stderr == *'line 1'* ]]
}

@test "-w sets the directory and makes it" {
	[ "$(moat run --rm -w /etc busybox pwd)" = /etc ]
	[ "$(moat run --rm -w /made/for/this busybox pwd)" = /made/for/this ]
	run -125 moat run --rm -w relative busybox pwd
}

@test "-u takes names, numbers and groups" {
	run -0 moat run --rm -u alice busybox id
	[[ $output == 'uid=1000(alice) gid=1000(alice) groups='* && $output == *'29(audio)'* && $output == *'50(staff)'* ]]
	[ "$(moat run --rm -u 1234 busybox id -u)" = 1234 ]
	[ "$(moat run --rm -u 1234 busybox id -g)" = 0 ]
	[ "$(moat run --rm -u 1234:4321 busybox id -g)" = 4321 ]
	[ "$(moat run --rm -u alice:staff busybox id -g)" = 50 ]
	run -125 moat run --rm -u alice:nosuch busybox id
}

@test "the image's user, directory and stop signal count" {
	image settled --busybox --user alice --workdir /var/run --stop-signal SIGUSR1
	[ "$(moat run --rm settled id -un)" = alice ]
	[ "$(moat run --rm settled pwd)" = /var/run ]
}

@test "entrypoint and cmd follow Docker's rules" {
	image both --busybox --entrypoint '["echo","entry"]' --cmd '["cmd"]'
	[ "$(moat run --rm both)" = 'entry cmd' ]
	[ "$(moat run --rm both mine)" = 'entry mine' ]
	[ "$(moat run --rm --entrypoint echo both)" = '' ]
	[ "$(moat run --rm --entrypoint echo both mine)" = mine ]
	[ "$(moat run --rm --entrypoint '' both echo only)" = only ]
	image onlycmd --busybox --cmd '["echo","cmd"]'
	[ "$(moat run --rm onlycmd)" = cmd ]
	image neither --busybox
	run --separate-stderr -125 moat run --rm neither
	one_line
}

@test "--hostname is the name, else the short id" {
	[ "$(moat run --rm --hostname box busybox hostname)" = box ]
	local id
	id=$(moat run -d busybox hostname)
	eventually logs_have "$id" "${id:0:12}"
}

@test "/etc/hosts and /etc/resolv.conf are there" {
	run -0 moat run --rm --hostname box busybox cat /etc/hosts
	[[ $output == *127.0.0.1*localhost* && $output == *box* ]]
	run -0 moat run --rm busybox cat /etc/resolv.conf
}

@test "--label is kept" {
	moat run --name labelled --label a=1 --label b busybox true
	[ "$(of labelled Config Labels a)" = 1 ]
	[ "$(of labelled Config Labels b)" = '' ]
}

# ---- mounts ----

@test "-v binds a folder for reading and writing" {
	mkdir "$TEST_DIR/shared"
	echo before >"$TEST_DIR/shared/file"
	[ "$(moat run --rm -v "$TEST_DIR/shared:/shared" busybox sh -c 'cat /shared/file; echo after >/shared/file')" = before ]
	[ "$(cat "$TEST_DIR/shared/file")" = after ]
}

@test "-v :ro cannot be written" {
	mkdir "$TEST_DIR/shared"
	run ! moat run --rm -v "$TEST_DIR/shared:/shared:ro" busybox touch /shared/file
	[ ! -e "$TEST_DIR/shared/file" ]
}

@test "-v binds a file" {
	echo content >"$TEST_DIR/file"
	[ "$(moat run --rm -v "$TEST_DIR/file:/etc/mine:ro" busybox cat /etc/mine)" = content ]
}

@test "-v makes a source that is not there, --mount refuses it" {
	run -0 moat run --rm -v "$TEST_DIR/made:/made" busybox touch /made/file
	[ -e "$TEST_DIR/made/file" ]
	run --separate-stderr -125 moat run --rm --mount "type=bind,source=$TEST_DIR/nosuch,target=/x" busybox true
	one_line
}

@test "--mount binds and makes tmpfs" {
	echo content >"$TEST_DIR/file"
	[ "$(moat run --rm --mount "type=bind,source=$TEST_DIR/file,target=/f,readonly" busybox cat /f)" = content ]
	run -0 moat run --rm --mount type=tmpfs,destination=/t,tmpfs-size=1m busybox sh -c 'grep " /t " /proc/mounts'
	[[ $output == *tmpfs* && $output == *size=1024k* ]]
	run -1 moat run --rm --mount type=tmpfs,dst=/t,tmpfs-size=64k,tmpfs-mode=1770 busybox \
		sh -c 'stat -c %a /t; dd if=/dev/zero of=/t/f bs=1k count=100 2>&1'
	[[ ${lines[0]} == 1770 && $output == *'No space left'* ]]
}

@test "a --mount that cannot be meant is refused" {
	local mount
	for mount in type=tmpfs type=volume,target=/x type=bind,target=/x source=/etc \
		type=tmpfs,target=/x,bogus=1 type=tmpfs,target=x; do
		run --separate-stderr -125 moat run --rm --mount "$mount" busybox true
		one_line
	done
}

@test "relative sources and targets are refused" {
	run -125 moat run --rm -v "$TEST_DIR:relative" busybox true
	run -125 moat run --rm -v "$TEST_DIR:/" busybox true
}

@test "what a workload writes is its own" {
	moat run --name writer busybox sh -c 'echo mine >/etc/passwd; rm /bin/awk'
	[ "$(moat run --rm busybox head -n 1 /etc/passwd)" = root:x:0:0:root:/root:/bin/sh ]
	run -0 moat run --rm busybox ls /bin/awk
}

# ---- limits ----

@test "--memory is set and enforced" {
	local id
	id=$(moat run -d -m 32m busybox sleep 1000)
	[ "$(cgroup_file "$id" memory memory.limit_in_bytes memory.max)" = 33554432 ]
	[ "$(of "$id" HostConfig Memory)" = 33554432 ]
	run -137 moat run --name hungry --memory 16m busybox sh -c 'x=a; while :; do x=$x$x; done'
	[ "$(of hungry State OOMKilled)" = true ]
}

@test "--cpus is set and enforced" {
	local id quota
	id=$(moat run -d --cpus 0.5 busybox sleep 1000)
	quota=$(cgroup_file "$id" cpu cpu.cfs_quota_us cpu.max)
	[ "${quota%% *}" = 50000 ]
	# A third of a second of CPU takes more than a second, on a slow processor too.
	run -0 moat run --rm --cpus 0.2 busybox sh -c '
		used() { read -r stat </proc/$$/stat; set -- $stat; cpu=$((${14} + ${15})); }
		now() { read -r up idle </proc/uptime; up=${up%.*}${up#*.}; }
		now; start=$up; used
		while [ $cpu -lt 33 ]; do i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; used; done
		now; echo $cpu $((up - start))'
	local cpu wall
	read -r cpu wall <<<"$output"
	[ "$wall" -ge $((cpu * 2)) ]
}

@test "--pids-limit is set and enforced" {
	local id
	id=$(moat run -d --pids-limit 20 busybox sleep 1000)
	[ "$(cgroup_file "$id" pids pids.max pids.max)" = 20 ]
	run -0 moat run --rm --pids-limit 20 busybox sh -c \
		'for i in $(seq 40); do sleep 5 & done 2>&1 | grep -c "an.t fork"; true'
	[[ $output != 0 ]]
}

@test "limits that cannot be meant are refused" {
	local limit
	for limit in --memory=1k --memory=-1 --memory=abc --cpus=-1 --cpus=abc --cpus=100000 --pids-limit=abc; do
		run --separate-stderr -125 moat run --rm "$limit" busybox true
		one_line
	done
}

@test "the least memory that is allowed is enough to start" {
	[ "$(moat run --rm -m 6m busybox echo started)" = started ]
	run --separate-stderr -125 moat run --rm -m 6143k busybox true
	one_line
	[[ $stderr == *6m* ]]
}

# ---- network ----

@test "--network none has a loopback and nothing else" {
	run -0 moat run --rm --network none busybox sh -c 'ls /sys/class/net; ip -4 addr show lo'
	[[ $output == lo* && $output == *127.0.0.1/8* ]]
	[ "$(moat run --rm --network none busybox ls /sys/class/net)" = lo ]
}

@test "--network host is the caller's" {
	[ "$(moat run --rm --network host busybox readlink /proc/self/ns/net)" = "$(readlink /proc/self/ns/net)" ]
	run -0 moat run --rm --network host busybox ls /sys/class/net
	[[ $output == *uplink* ]]
}

@test "the default network has an address, a route, and a way out" {
	run -0 moat run --rm busybox sh -c 'ip -4 addr show eth0; ip route; ping -c 1 -W 5 198.51.100.1'
	[[ $output == *'default via'* && $output == *'1 packets received'* ]]
}

@test "what comes from a workload wears the host's address outside" {
	nsenter --net=/proc/"$MOAT_OUTSIDE_PID"/ns/net timeout 20 busybox nc -l -p 7777 -e sh -c \
		'echo hello from outside' >/dev/null &
	eventually eval "nsenter --net=/proc/$MOAT_OUTSIDE_PID/ns/net ss -ltn | grep -q :7777"
	run -0 moat run --rm busybox nc 198.51.100.1 7777
	[ "$output" = 'hello from outside' ]
}

@test "two workloads on the default network reach each other" {
	moat run -d --name server busybox httpd -f -p 80 -h /etc
	local address
	address=$(of server NetworkSettings Networks bridge IPAddress)
	[[ $address == *.*.*.* ]]
	run -0 moat run --rm busybox wget -q -O - "http://$address/hostname"
}

@test "an unknown network is refused" {
	run -125 moat run --rm --network nosuch busybox true
}

# ---- odd places ----

@test "run and data directories may have long names" {
	local long
	long=$(printf 'd%.0s' {1..150})
	mkdir "$TEST_DIR/$long"
	local root=$TEST_DIR/$long/root rundir=$TEST_DIR/$long/run
	local image
	image=$("$MOAT_TOP/tests/lib/images" busybox)
	"$MOAT" --root "$root" --run "$rundir" load -i "$image"
	[ "$("$MOAT" --root "$root" --run "$rundir" run --rm busybox echo fine)" = fine ]
	"$MOAT" --root "$root" --run "$rundir" system prune
}

@test "two engines do not see each other" {
	moat run -d --name mine busybox sleep 1000
	[ -z "$("$MOAT" --root "$TEST_DIR/root" --run "$TEST_DIR/run" ps -aq)" ]
	[ -z "$("$MOAT" --root "$TEST_DIR/root" --run "$TEST_DIR/run" images -q)" ]
}

@test "a read-only standard output that is full is an error of the command, not a hang" {
	run ! bash -c "timeout 20 '$MOAT' run --isolation '$MOAT_WALL' --rm busybox sh -c 'echo x || exit 5' >/dev/full"
	[ "$status" -ne 124 ]
}

@test "the environment of the caller does not reach the workload" {
	SECRET_OF_CALLER=1 run -0 moat run --rm busybox env
	[[ $output != *SECRET_OF_CALLER* && $output != *MOAT_ROOT* ]]
}
