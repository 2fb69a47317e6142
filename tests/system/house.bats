#!/usr/bin/env bats
# house - the checkers are checked: each finds what it is for in a planted copy of the tree.
# One wall: container, it looks at the repository, not at moat.
# Not for the lab: it looks at the repository, not at moat.
bats_require_minimum_version 1.5.0

setup() {
	COPY=$BATS_TEST_TMPDIR/tree
	mkdir -p "$COPY/src/engine" "$COPY/src/cli" "$COPY/src/layer" "$COPY/tests" "$COPY/bench" "$COPY/docs"
	cp -r "$MOAT_TOP/tools" "$MOAT_TOP/.clang-format" "$MOAT_TOP/.clang-tidy" "$COPY/"
	rm -f "$COPY"/tools/checks/*.allow
	cd "$COPY" || return
}

# finds CHECK WORD: the check fails and says WORD.
finds() {
	run ! tools/check build "$1"
	[[ $output == *"FAIL $1: "*"$2"* ]]
}

# silent CHECK: it has nothing to say.
silent() {
	run -0 tools/check build "$1"
}

@test "layers: sideways, private and missing folders are found" {
	printf '#include "layer/layer.h"\n' >src/cli/a.c
	finds layers 'cli may not use layer'
	printf '#include "engine/private.h"\n' >src/cli/a.c
	finds layers 'is private to engine'
	printf '#include "a.h"\n' >src/cli/a.c
	finds layers 'without its folder'
	printf '#include "layer/layer.h"\n' >src/engine/engine.h
	printf '#include "engine/engine.h"\n' >src/cli/a.c
	finds layers 'hands layer on'
	yes '' | head -n 251 >src/engine/engine.h
	finds layers 'at most 250 lines'
	: >src/engine/engine.h
	silent layers
}

@test "banned: calls, path buffers and leftovers are found, strings and comments are not" {
	printf 'int f(void)\n{\n\treturn atoi("1");\n}\n' >src/cli/a.c
	finds banned 'src/cli/a.c:3 atoi() is banned'
	printf 'void f(void)\n{\n\tchar path[64];\n}\n' >src/cli/a.c
	finds banned 'a path is a struct text'
	printf '/* T%s: later */\n' ODO >src/cli/a.c
	finds banned 'was left in'
	printf '/* strcpy(a, b) */\nconst char *s = "system(x)";\n' >src/cli/a.c
	silent banned
	: >src/cli/util.c
	finds banned 'a file is one noun'
}

@test "resolver: a second openat2 and a text path to /proc are found" {
	printf 'int r = RESOLVE_IN_ROOT;\n' >src/cli/a.c
	finds resolver 'belongs into src/base/path.c'
	printf 'const char *s = "/proc/self/root";\n' >src/cli/a.c
	finds resolver 'belongs into src/base/proc.c'
}

@test "headers_alone: a header that needs another one is found" {
	printf '#pragma once\nstruct later f(size_t n);\n' >src/cli/a.h
	finds headers_alone 'src/cli/a.h:2'
	printf '#pragma once\nstatic int counter = 1;\n' >src/cli/a.h
	finds headers_alone 'no static variable'
	printf 'int f(void);\n' >src/cli/a.h
	finds headers_alone '#pragma once'
}

object() { # SOURCE-TEXT: compiles it as src/cli/noun.c where meson would put it
	mkdir -p build/src/cli/libmoat-cli.a.p
	printf '%s\n' "$1" >src/cli/noun.c
	gcc -fPIE -c -o build/src/cli/libmoat-cli.a.p/noun.c.o src/cli/noun.c
}

@test "globals: a writable variable is found, constants are not" {
	object 'static int noun_count; int noun_next(void) { return ++noun_count; }'
	finds globals 'variable noun_count is writable'
	object 'int noun_next(void) { static int last = 4; return ++last; }'
	finds globals 'variable last is writable'
	object 'extern int x; static int *const table[] = { &x }; int *noun_at(int i) { return table[i]; }'
	silent globals
}

@test "symbols: an export without its file's name is found" {
	object 'int other_thing(void) { return 0; }'
	finds symbols 'exports other_thing'
	object 'int noun_thing(void) { return 0; } static int other(void) { return 1; } int noun_b(void) { return other(); }'
	silent symbols
	: >src/layer/noun.c
	finds symbols 'base names are unique'
}

@test "tables: a row out of order is found where the table says it is sorted" {
	printf '/* ROW(name): sorted */\nROW(b)\nROW(a)\n' >src/cli/a.def
	finds tables 'a stands after b'
	printf '/* ROW(name): the order matters */\nROW(b)\nROW(a)\n' >src/cli/a.def
	silent tables
	printf '/* ROW(name) */\nROW(a,\n b)\n' >src/cli/a.def
	finds tables 'not one row'
}

@test "docs_links and tour: names that are not there are found" {
	printf '[x](nosuch.md)\n' >docs/a.md
	touch src/{engine,cli,layer}/README.md
	finds docs_links 'links to nosuch.md'
	printf '# Head\n[x](#head)\n' >docs/a.md
	silent docs_links
	# shellcheck disable=SC2016
	printf 'see `no_such_function` in `src/no/such.c`\n' >docs/tour.md
	finds tour 'no_such_function is in no source'
	finds tour 'src/no/such.c is not in the tree'
}

@test "man: a command without a page, bad markup and a lost reference are found" {
	mkdir -p build docs/man
	printf 'COMMAND("a", cmd_a, "", "Do a")\nCOMMAND("b c", cmd_b, "", "Do b")\n' >src/cli/commands.def
	printf 'moat(1)\n\n@COMMANDS@\n\n@OPTIONS@\n' >docs/man/moat.1.scd
	cat >build/moat <<-'END'
		#!/bin/sh
		case "$*" in
		help) printf 'Usage:  moat\n\nCommands:\n  a               Do a\n' ;;
		'help a') printf 'Usage:  moat a [X_Y]\n\nDo *a\n' ;;
		version*) echo 1 ;;
		esac
	END
	chmod +x build/moat
	finds man 'src/cli/commands.def:2 moat-b-c(1) is not made'
	sed -i 2d src/cli/commands.def
	silent man
	printf '\n*moat-z*(1)\n' >>docs/man/moat.1.scd
	finds man 'docs/man/moat.1.scd:7 moat-z(1) is not there'
	printf '\n#bold\n' >>docs/man/moat.1.scd
	finds man 'scdoc refuses moat(1)'
	sed -i "s/  a               Do a/&\\n?/" build/moat
	finds man 'no line that tools/man knows'
}

@test "format, shell, python and clang_tidy find what they are for" {
	printf 'int  f( void ) {return 1;}\n' >src/cli/a.c
	finds format 'src/cli/a.c:1'
	printf '#!/bin/sh\nfor f in $(ls *.x); do rm $f; done\nlocal_unused=$1\n' >tools/bad
	finds shell 'tools/bad'
	printf '#!/usr/bin/env python3\nimport os\n' >tools/bad
	finds python 'imports os'
	printf 'int f(int *p);\nint f(int *p)\n{\n\tif (p == 0)\n\t\treturn *p;\n\treturn 0;\n}\n' >src/cli/a.c
	finds clang_tidy 'src/cli/a.c:5'
}

@test "a bug planted in the writer of images is seen by fsck.erofs or the walker" {
	run -0 python3 "$MOAT_TOP/tests/lib/layer_mutants.py" "${MOAT%/*}"
	echo "# $output" >&3
}

@test "an attack gets through where its guard is removed" {
	run -0 python3 "$MOAT_TOP/tests/lib/guard_mutants.py" "${MOAT%/*}"
	echo "# ${lines[-1]}" >&3
}

@test "results: failures, lost tests and skips without a reason are red" {
	local r=tools/results
	mkdir -p tests
	printf '# PATTERN HOST-KIND reason\nsystem/needs_x not-this-host because\n' >tests/expected-skips
	printf '1..3\nok 1 a\nok 2 b in 5ms\nok 3 c\n' >good.tap
	$r tap system good.tap >good.tsv
	run -0 $r sum good.tsv
	[ "${lines[-1]}" = '3 passed, 0 failed, 0 skipped' ]
	printf '1..3\nok 1 a\nnot ok 2 b\n' >lost.tap
	$r tap system lost.tap >lost.tsv
	run -1 $r sum lost.tsv
	[ "${lines[-1]}" = '1 passed, 2 failed, 0 skipped' ]
	[[ $output == *'FAILED system: b'* && $output == *'NEVER RAN'* ]]
	printf '1..1\nok 1 needs x # skip no x\n' >skip.tap
	$r tap system skip.tap >skip.tsv
	run -1 $r sum good.tsv skip.tsv
	[[ $output == *'NOT in tests/expected-skips'* ]]
	# The same skip on a host of the kind that the row names.
	printf 'system/needs_x %s because\n' "$(tools/hostkind | head -n 1)" >tests/expected-skips
	run -0 $r sum good.tsv skip.tsv
	[ "${lines[-1]}" = '3 passed, 0 failed, 1 skipped' ]
	[[ $output == *because* ]]
	# The lab's rows are for the lab alone, and no others are.
	sed 's/^system/lab/' skip.tsv >lab.tsv
	printf 'lab/needs_x lab because\n' >tests/expected-skips
	run -0 $r sum good.tsv lab.tsv
	run -1 $r sum good.tsv skip.tsv
	printf 'lab/needs_x %s because\n' "$(tools/hostkind | head -n 1)" >tests/expected-skips
	run ! $r sum good.tsv lab.tsv
	: >tests/expected-skips
	: >none.tsv
	run -1 $r sum none.tsv
	# A cmocka program that stops half way.
	printf '%s\n' '{"name": "base/x", "result": "ERROR", "returncode": -11, "stdout": "[==========] Running 3 test(s).\n[ RUN      ] one\n[       OK ] one\n[ RUN      ] two\n", "stderr": ""}' >log.json
	$r meson unit log.json >unit.tsv
	run -1 $r sum unit.tsv
	[ "${lines[-1]}" = '1 passed, 3 failed, 0 skipped' ]
}
