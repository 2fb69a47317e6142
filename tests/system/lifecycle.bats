#!/usr/bin/env bats
# lifecycle - the verbs after run, with Docker's flags, output and exit codes.
load ../lib/common

# ---- create, start ----

@test "create prints an id and starts nothing" {
	run -0 moat create --name made busybox sh -c 'echo started'
	[[ $output =~ ^[0-9a-f]{64}$ ]]
	state_is made created
	[ -z "$(moat ps -q)" ]
	[ "$(moat ps -aq --no-trunc)" = "$output" ]
}

@test "start runs what was created, and prints its name" {
	moat create --name made busybox sh -c 'echo started; sleep 1000'
	run -0 moat start made
	[ "$output" = made ]
	state_is made running
	eventually logs_have made started
}

@test "start -a attaches and ends with the workload's status" {
	moat create --name made busybox sh -c 'echo out; exit 6'
	run -6 moat start -a made
	[ "$output" = out ]
}

@test "an exited workload starts again with what it wrote" {
	moat run --name twice busybox sh -c 'echo x >>/count; wc -l </count'
	run -0 moat start -a twice
	[ "$output" = 2 ]
}

@test "start of a running workload changes nothing" {
	moat run -d --name once busybox sleep 1000
	local pid
	pid=$(of once State Pid)
	run -0 moat start once
	[ "$(of once State Pid)" = "$pid" ]
}

@test "verbs refuse a workload that is not there, in one line that names it" {
	local verb words
	for verb in start stop kill wait rm inspect logs attach exec; do
		words=("$verb" nosuch)
		[ "$verb" != exec ] || words+=(true)
		run --separate-stderr ! moat "${words[@]}"
		one_line
		[[ $stderr == *nosuch* ]]
	done
}

@test "an id's beginning names a workload when it is the only one" {
	local id
	id=$(moat run -d busybox sleep 1000)
	state_is "${id:0:6}" running
	state_is "${id:0:12}" running
}

@test "flags may stand behind names; behind an image or a command they are the command's" {
	moat run -d --name one busybox sleep 1000
	[ "$(moat inspect one -f '{{.Name}}')" = /one ]
	[ "$(moat exec one ls -d /)" = / ]
	[ "$(moat run --rm busybox ls -d /)" = / ]
	run -0 moat stop one -t 1
	run -0 moat logs one --tail 1
	run -0 moat rm one -f
	[ -z "$(moat ps -aq)" ]
	run --separate-stderr ! moat logs one --nosuch
	[[ $stderr == *nosuch* ]]
}

@test "start -ai passes standard input" {
	moat create --name made -i busybox cat
	[ "$(echo hello | moat start -ai made)" = hello ]
}

# ---- stop, kill, wait ----

@test "stop sends SIGTERM, prints the name, and keeps the status" {
	moat run -d --name polite busybox sh -c 'trap "exit 8" TERM; echo ready; while :; do sleep 0.1; done'
	eventually logs_have polite ready
	run -0 moat stop polite
	[ "$output" = polite ]
	[ "$(of polite State ExitCode)" = 8 ]
}

@test "stop -t kills what does not listen" {
	moat run -d --name deaf busybox sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
	eventually logs_have deaf ready
	local begin=$SECONDS
	run -0 moat stop -t 1 deaf
	[ $((SECONDS - begin)) -lt 6 ]
	[ "$(of deaf State ExitCode)" = 137 ]
}

@test "stop uses the image's signal" {
	image usr1 --busybox --stop-signal SIGUSR1
	moat run -d --name special usr1 sh -c 'trap "exit 4" USR1; echo ready; while :; do sleep 0.1; done'
	eventually logs_have special ready
	moat stop special
	[ "$(of special State ExitCode)" = 4 ]
}

@test "stop of an exited workload is fine" {
	moat run --name over busybox true
	run -0 moat stop over
}

@test "kill sends SIGKILL, -s another one by name or number" {
	moat run -d --name target busybox sh -c 'trap "echo got" HUP; echo ready; while :; do sleep 0.1; done'
	eventually logs_have target ready
	run -0 moat kill -s HUP target
	[ "$output" = target ]
	eventually logs_have target got
	moat kill --signal 9 target
	eventually state_is target exited
	[ "$(of target State ExitCode)" = 137 ]
}

@test "kill refuses an unknown signal and a workload that does not run" {
	moat run --name over busybox true
	run ! moat kill over
	moat run -d --name alive busybox sleep 1000
	run ! moat kill -s NOSUCH alive
	state_is alive running
}

@test "wait prints the status, now or later" {
	moat run -d --name late busybox sh -c 'sleep 0.5; exit 12'
	run -0 moat wait late
	[ "$output" = 12 ]
	run -0 moat wait late
	[ "$output" = 12 ]
}

@test "stop, kill and wait take several names" {
	local name
	for name in one two three; do
		moat run -d --name $name busybox sh -c 'trap "exit 4" USR1; echo ready; while :; do sleep 0.1; done'
		eventually logs_have $name ready
	done
	[ "$(moat kill -s USR1 one two)" = $'one\ntwo' ]
	[ "$(moat wait one two)" = $'4\n4' ]
	[ "$(moat stop -s USR1 three one)" = $'three\none' ]
	[ "$(moat wait three)" = 4 ]
	run --separate-stderr ! moat wait one nosuch
	[ "$output" = 4 ]
	one_line
}

# ---- rm ----

@test "rm refuses a running workload, rm -f ends it" {
	moat run -d --name alive busybox sleep 1000
	run --separate-stderr ! moat rm alive
	one_line
	state_is alive running
	run -0 moat rm -f alive
	[ "$output" = alive ]
	[ -z "$(moat ps -aq)" ]
}

@test "rm takes several names and says which it could not remove" {
	moat create --name one busybox true
	moat create --name two busybox true
	run ! moat rm one nosuch two
	[[ $output == *one* && $output == *nosuch* && $output == *two* ]]
	[ -z "$(moat ps -aq)" ]
}

@test "rm -f of what is not there is no failure" {
	run -0 moat rm -f nosuch
}

# ---- exec ----

@test "exec runs in the workload and ends with the command's status" {
	moat run -d --name box --hostname box busybox sleep 1000
	[ "$(moat exec box hostname)" = box ]
	run -5 moat exec box sh -c 'exit 5'
	run -127 moat exec box /no/such
	run -126 moat exec box /etc/passwd
}

@test "exec of a command that is killed is 128 and the signal" {
	moat run -d --name box busybox sleep 1000
	run -137 moat exec box sh -c 'kill -9 $$'
	run -143 moat exec box sh -c 'kill $$'
	run -139 moat exec box sh -c 'kill -SEGV $$'
}

@test "exec is in every namespace and cgroup of the workload" {
	moat run -d --name box busybox sleep 1000
	local name
	for name in cgroup ipc mnt net pid uts; do
		[ "$(moat exec box readlink "/proc/self/ns/$name")" = "$(moat exec box readlink "/proc/1/ns/$name")" ]
	done
	[ "$(moat exec box cat /proc/self/cgroup)" = "$(moat exec box cat /proc/1/cgroup)" ]
}

@test "exec has the workload's wall" {
	moat run -d --name box busybox sleep 1000
	[ "$(moat exec box grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status)" = \
		"$(moat exec box grep -E '^(Cap|Seccomp:|NoNew)' /proc/1/status)" ]
}

@test "exec -e, -u and -w" {
	moat run -d --name box -e FROM=run busybox sleep 1000
	[ "$(moat exec -e X=1 box sh -c 'echo $X $FROM')" = '1 run' ]
	[ "$(moat exec -u alice box id -un)" = alice ]
	[ "$(moat exec -w /etc box pwd)" = /etc ]
	run ! moat exec -u nosuch box true
	run ! moat exec -w /nosuch box true
}

@test "exec -i passes standard input" {
	moat run -d --name box busybox sleep 1000
	[ "$(echo hello | moat exec -i box cat)" = hello ]
}

@test "exec -t gives a terminal" {
	moat run -d --name box busybox sleep 1000
	run -3 tty_run 'expect=# ' 'send=stty size\n' 'expect=24 80' 'send=exit 3\n' \
		-- "$MOAT" exec -it -e PS1='# ' box sh
}

@test "exec -t follows the window's size" {
	moat run -d --name box busybox sleep 1000
	run -0 tty_run 'expect=# ' resize=33x120 'send=sleep 0.3; stty size\n' 'expect=33 120' 'send=exit\n' \
		-- "$MOAT" exec -it -e PS1='# ' box sh
}

@test "exec -d returns at once" {
	moat run -d --name box busybox sleep 1000
	run -0 moat exec -d box sh -c 'sleep 0.3; touch /done'
	eventually moat exec box test -e /done
}

@test "exec into a workload that does not run is refused" {
	moat run --name over busybox true
	run --separate-stderr ! moat exec over true
	one_line
}

# ---- attach ----

@test "attach shows what comes and ends with the workload" {
	moat run -d -i --name box busybox sh -c 'read line; echo "got $line"; exit 3'
	run -3 bash -c "echo hello | '$MOAT' attach box"
	[ "$output" = 'got hello' ]
}

@test "attach on a terminal detaches by ctrl-p ctrl-q" {
	moat run -dit --name box -e PS1='# ' busybox sh
	run -0 tty_run 'send=echo one-$((1+1))\n' 'expect=one-2' 'send=\x10\x11' -- "$MOAT" attach box
	state_is box running
	run -0 tty_run 'send=echo two-$((1+1))\n' 'expect=two-2' 'send=exit\n' -- "$MOAT" attach box
	eventually state_is box exited
}

@test "attach --no-stdin leaves standard input alone" {
	moat run -d -i --name box busybox sh -c 'sleep 1; read line; echo "got $line"'
	run -0 bash -c "(echo mine; echo still there) | { '$MOAT' attach --no-stdin box & echo first | '$MOAT' attach box >/dev/null; wait; head -n 1; }"
	[[ $output == *mine* ]]
	eventually state_is box exited
	[ "$(moat logs box)" = 'got first' ]
}

# ---- logs ----

@test "logs prints both streams where they belong" {
	moat run --name talker busybox sh -c 'echo out; echo err >&2' >/dev/null 2>&1
	run --separate-stderr -0 moat logs talker
	[ "$output" = out ]
	[ "$stderr" = err ]
}

@test "logs of a workload that goes on writing end, and --tail 1 is one line" {
	moat run -d --name talker busybox sh -c 'while :; do echo line; done'
	eventually logs_have talker line
	for _ in 1 2 3 4; do
		[ "$(moat logs --tail 1 talker | wc -l)" -eq 1 ]
	done
	timeout 20 "$MOAT" logs talker >/dev/null
}

@test "logs --tail and -n" {
	moat run --name talker busybox seq 100 >/dev/null
	[ "$(moat logs --tail 2 talker)" = $'99\n100' ]
	[ "$(moat logs -n 1 talker)" = 100 ]
	[ -z "$(moat logs --tail 0 talker)" ]
	[ "$(moat logs --tail all talker | wc -l)" -eq 100 ]
}

@test "logs -t begins each line with an RFC 3339 time" {
	moat run --name talker busybox echo hello >/dev/null
	run -0 moat logs -t talker
	[[ $output =~ ^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{9}Z\ hello$ ]]
}

@test "logs --since leaves out what is older" {
	moat run -d --name talker busybox sh -c 'echo old; sleep 2; echo new; sleep 1000'
	eventually logs_have talker new
	local moment
	moment=$(moat logs -t talker | awk '/new/ { print $1 }')
	[ "$(moat logs --since "$moment" talker)" = new ]
	[ "$(moat logs --since 1h talker)" = $'old\nnew' ]
	[ "$(moat logs --since "$(date -d "$moment" +%s)" talker)" = new ]
}

@test "logs --until leaves out what is newer" {
	moat run --name talker busybox sh -c 'echo old; sleep 1; echo new' >/dev/null
	local moment
	moment=$(moat logs -t talker | awk '/old/ { print $1 }')
	[ "$(moat logs --until "$moment" talker)" = old ]
	[ -z "$(moat logs --until 1h talker)" ]
	local bad
	for bad in --since --until --tail; do
		run --separate-stderr ! moat logs $bad nonsense talker
		one_line
	done
}

@test "logs -f follows and ends with the workload" {
	moat run -d --name talker busybox sh -c 'echo one; sleep 0.5; echo two; sleep 0.5; echo three'
	run -0 timeout 20 "$MOAT" logs -f talker
	[ "$output" = $'one\ntwo\nthree' ]
}

@test "logs keep lines longer than any buffer, and bytes that are no text" {
	moat run --name talker busybox sh -c 'yes abcdefg | tr -d "\n" | head -c 300000; echo; printf "\\000\\377x\n"' >/dev/null
	[ "$(moat logs talker | head -n 1 | wc -c)" -eq 300001 ]
	[ "$(moat logs talker | tail -n 1 | xxd -p 2>/dev/null || moat logs talker | tail -n 1 | od -An -tx1 | tr -d ' \n')" = 00ff780a ]
}

@test "logs are there while nobody is attached, and after a restart of the workload" {
	moat run -d --name talker busybox sh -c 'echo said'
	moat wait talker
	moat start talker
	moat wait talker
	[ "$(moat logs talker)" = $'said\nsaid' ]
}

# ---- ps, inspect ----

@test "ps has Docker's columns" {
	moat run -d --name shown busybox sleep 1000
	run -0 moat ps
	[[ ${lines[0]} == 'CONTAINER ID'*IMAGE*COMMAND*CREATED*STATUS*NAMES ]]
	[[ ${lines[1]} == *busybox*sleep\ 1000*Up*shown ]]
}

@test "ps -a shows all, -q ids only, --no-trunc whole ones" {
	local id
	id=$(moat run -d busybox sleep 1000)
	moat run --name over busybox true
	[ "$(moat ps -q)" = "${id:0:12}" ]
	[ "$(moat ps -q --no-trunc)" = "$id" ]
	[ "$(moat ps -aq | wc -l)" -eq 2 ]
	[[ $(moat ps -a) == *'Exited (0)'* ]]
}

@test "ps --filter by name, status, label, ancestor, exited and id" {
	local id
	id=$(moat run -d --name alpha --label color=red busybox sleep 1000)
	moat run --name beta --label color=blue busybox sh -c 'exit 3' || :
	moat create --name gamma busybox true
	[ "$(moat ps -a --filter name=alp --format '{{.Names}}')" = alpha ]
	[ "$(moat ps -a --filter status=exited --format '{{.Names}}')" = beta ]
	[ "$(moat ps -a --filter status=created --format '{{.Names}}')" = gamma ]
	[ "$(moat ps -a --filter label=color --format '{{.Names}}' | sort | paste -sd ,)" = alpha,beta ]
	[ "$(moat ps -a --filter label=color=blue --format '{{.Names}}')" = beta ]
	[ "$(moat ps -a --filter ancestor=busybox --format '{{.Names}}' | wc -l)" -eq 3 ]
	[ "$(moat ps -a --filter exited=3 --format '{{.Names}}')" = beta ]
	[ "$(moat ps -a --filter "id=${id:0:8}" --format '{{.Names}}')" = alpha ]
	[ -z "$(moat ps -a --filter status=exited --filter name=alpha -q)" ]
	[ "$(moat ps -a --filter name=alpha --filter name=gamma -q | wc -l)" -eq 2 ]
	[ "$(moat ps --filter network=bridge --filter isolation="$MOAT_WALL" --format '{{.Names}}')" = alpha ]
	[ -z "$(moat ps -a --filter network=host -q)" ]
	[ "$(moat ps -l --format '{{.Names}}')" = gamma ]
	[ "$(moat ps -n 2 --format '{{.Names}}' | paste -sd ,)" = gamma,beta ]
	run ! moat ps --filter nosuch=1
}

@test "ps --format takes templates, table and json" {
	moat run -d --name alpha --label color=red busybox sleep 1000
	[ "$(moat ps --format '{{.Names}}:{{.Image}}:{{.State}}')" = alpha:busybox:running ]
	[ "$(moat ps --format '{{.Label "color"}}')" = red ]
	[ "$(moat ps --format 'table {{.Names}}\t{{.Image}}\t{{.Labels}}')" = \
		$'NAMES     IMAGE     LABELS\nalpha     busybox   made-by=mkimage,color=red' ]
	[ "$(moat ps --format json | field Names)" = alpha ]
	[ "$(moat ps --format '{{json .Names}}')" = '"alpha"' ]
	run ! moat ps --format '{{.NoSuch}}'
}

@test "inspect says what Docker says" {
	local id
	id=$(moat run -d --name full -e A=1 -w /etc -u alice -m 128m --cpus 0.5 --pids-limit 50 \
		--label l=1 --hostname box busybox sleep 1000)
	moat inspect full >"$TEST_DIR/full"
	value() {
		field 0 "$@" <"$TEST_DIR/full"
	}
	[ "$(value Id)" = "$id" ]
	[ "$(value Name)" = /full ]
	[ "$(value State Running)" = true ]
	[ -d "/proc/$(value State Pid)" ]
	[ "$(value Config Cmd)" = $'sleep\n1000' ]
	[[ $(value Config Env) == *A=1* ]]
	[ "$(value Config WorkingDir)" = /etc ]
	[ "$(value Config User)" = alice ]
	[ "$(value Config Hostname)" = box ]
	[ "$(value Config Image)" = busybox ]
	[[ $(value Image) == sha256:* ]]
	[ "$(value HostConfig Memory)" = 134217728 ]
	[ "$(value HostConfig NanoCpus)" = 500000000 ]
	[ "$(value HostConfig PidsLimit)" = 50 ]
	[[ $(value State StartedAt) =~ ^20.*Z$ ]]
	[ "$(value State FinishedAt)" = 0001-01-01T00:00:00Z ]
}

@test "inspect --format prints one value" {
	moat run -d --name box busybox sleep 1000
	[ "$(moat inspect -f '{{.State.Status}}' box)" = running ]
	[ "$(moat inspect --format '{{.Name}}' box)" = /box ]
}

@test "version and info say what this engine is" {
	run -0 moat version
	[[ $output == *[0-9].[0-9]* ]]
	run -0 moat info
	[[ $output == *[cC]group* ]]
}

@test "help names every command, and every command has help" {
	run -0 moat --help
	local command
	while read -r command; do
		[[ $output == *"${command%% *}"* ]]
		# shellcheck disable=SC2086
		"$MOAT" $command --help >/dev/null
	done < <(sed -n 's/^COMMAND("\([^"]*\)".*/\1/p' "$MOAT_TOP/src/cli/commands.def")
}

@test "compare measures the walls this host offers" {
	run -0 moat compare busybox true
	[[ ${lines[0]} == "WALL "*"WALL MEMORY"*"HOST CALLS"*"KERNEL SEEN" ]]
	[[ ${lines[1]} == container*"$(uname -r | cut -d - -f 1)"* ]]
	# Its monitor is all that the wall needs: a small static program.
	local own calls
	read -r own calls < <(awk 'NR == 2 { print $7, $9 }' <<<"$output")
	[[ $own =~ ^[0-9.]+[KM]iB$ ]]
	# Docker's profile on x86-64.
	[ "$calls" -gt 250 ] && [ "$calls" -lt 350 ]
	# A wall that is not there has dashes, and its reason a line of its own.
	[[ ${lines[2]} == "vm ("*")"*[0-9]* || ${lines[3]} == "vm: "* ]]
	[ -z "$(moat ps -aq)" ]
}

@test "compare says why it cannot show an image's kernel" {
	image bare --copy bin/true="$(command -v busybox)"
	run -0 moat compare bare true
	[[ ${lines[1]} == container*"not shown: "*sleep* ]]
	[ -z "$(moat ps -aq)" ]
}
