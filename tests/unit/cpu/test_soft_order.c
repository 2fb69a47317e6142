/* What two interpreted processors may see of each other's accesses (Intel SDM 3, 9.2): each line of
 * a test is one of LINES places in memory, which both go through at the same time, ROUNDS times. */
#include "soft_world.h"

#include <pthread.h>

enum { LINES = 4096, ROUNDS = 100, LINE = 16, BYTES = LINES * LINE };
/* Arrays of lines: two variables, what each processor has read; and one counter. */
enum { X = 0x80000, Y = 0x90000, READ_0 = 0xa0000, READ_1 = 0xb0000, COUNT = 0xc0000 };

#define PROGRAM(name, code)                                   \
	extern const uint8_t name[], name##_end[];            \
	__asm__(".pushsection .rodata\n" #name ":\n1:\n" code \
		"\nadd $16, %rsi; cmp $65536, %rsi; jne 1b; hlt\n" #name "_end:\n.popsection")
#define X_AT "0x80000(%rsi)"
#define Y_AT "0x90000(%rsi)"
#define KEEP_0 "; mov %rax, 0xa0000(%rsi)"
#define KEEP_1 "; mov %rax, 0xb0000(%rsi)"
#define EXCHANGE(at) "mov $1, %ecx; xchg %rcx, " at

/* One writes, the other reads in the opposite order. */
PROGRAM(message_0, "movq $1, " X_AT "; movq $1, " Y_AT);
PROGRAM(message_1, "mov " Y_AT ", %rax" KEEP_0 "; mov " X_AT ", %rax" KEEP_1);
/* Each reads one and then writes the other. */
PROGRAM(load_0, "mov " X_AT ", %rax; movq $1, " Y_AT KEEP_0);
PROGRAM(load_1, "mov " Y_AT ", %rax; movq $1, " X_AT KEEP_1);
/* Each writes one and then reads the other, with what keeps the two in order between them. */
PROGRAM(fence_0, "movq $1, " X_AT "; mfence; mov " Y_AT ", %rax" KEEP_0);
PROGRAM(fence_1, "movq $1, " Y_AT "; mfence; mov " X_AT ", %rax" KEEP_1);
PROGRAM(exchange_0, EXCHANGE(X_AT) "; mov " Y_AT ", %rax" KEEP_0);
PROGRAM(exchange_1, EXCHANGE(Y_AT) "; mov " X_AT ", %rax" KEEP_1);
/* Locked instructions lose nothing. */
PROGRAM(count_inc, "lock incq 0xc0000");
PROGRAM(count_add, "mov $1, %eax; lock xadd %rax, 0xc0000");
PROGRAM(count_compare,
	"2: mov 0xc0000, %rax; lea 1(%rax), %rcx; lock cmpxchg %rcx, 0xc0000; jne 2b");

struct processor {
	struct soft_vcpu *v;
	pthread_barrier_t *barrier;
	atomic_uint *running; /* of all rounds: so that both begin at the same time */
	bool is_good;         /* nothing was raised */
};

static void *run_rounds(void *argument)
{
	struct processor *p = argument;
	struct soft_vcpu *v = p->v;
	const uint64_t start = v->rip;
	if (sigsetjmp(v->trap, 0) != 0)
		return NULL;
	for (unsigned round = 0; round < ROUNDS; round++) {
		(void)pthread_barrier_wait(p->barrier); /* the lines are cleared */
		v->rip = start;
		v->gpr[RSI] = 0;
		v->is_halted = false;
		(void)atomic_fetch_add(p->running, 1);
		while (atomic_load(p->running) < 2 * (round + 1))
			;
		for (struct soft_block *b = NULL; !v->is_halted;) {
			b = b != NULL ? soft_block_follow(v, b) : soft_block_find(v);
			v->gpr[GPR_BLOCK] = v->rip;
			for (unsigned i = 0; i < b->ops_len; i++) {
				v->op = &b->ops[i];
				v->op->run(v, v->op);
			}
			v->op = NULL;
		}
		(void)pthread_barrier_wait(p->barrier); /* both are through */
		(void)pthread_barrier_wait(p->barrier); /* the test has looked */
	}
	p->is_good = true;
	return NULL;
}

static struct soft_vcpu *second_processor(void)
{
	struct err err = { 0 };
	struct soft_vcpu *v = NEW(soft_vcpu);
	memcpy(v, &world->v, sizeof(*v));
	v->blocks = NULL;
	soft_tlb_init(v);
	soft_settle(v);
	assert_int_equal(soft_blocks_new(&v->blocks, &err), 0);
	return v;
}

static void place(struct soft_vcpu *v, uint64_t at, const uint8_t *code, const uint8_t *end)
{
	memcpy(world->ram + at, code, (size_t)(end - code));
	v->rip = at;
}

/* How many lines have both had these values. */
static unsigned both_read(uint64_t value_0, uint64_t value_1)
{
	unsigned found = 0;
	for (uint64_t at = 0; at < BYTES; at += LINE)
		found += get(READ_0 + at, 8) == value_0 && get(READ_1 + at, 8) == value_1;
	return found;
}

struct pair {
	const uint8_t *code[2], *end[2];
	uint64_t never[2]; /* what the two cannot both have read */
};

static void run_pair(const struct pair *pair, bool is_checked)
{
	pthread_barrier_t barrier;
	pthread_t thread[2];
	world_mode(LONG, 0);
	struct soft_vcpu *second = second_processor();
	atomic_uint running = 0;
	struct processor p[2] = { { &world->v, &barrier, &running, false },
		{ second, &barrier, &running, false } };
	place(&world->v, CODE, pair->code[0], pair->end[0]);
	place(second, CODE + 0x1000, pair->code[1], pair->end[1]);
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 3), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run_rounds, &p[i]), 0);
	unsigned wrong = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		memset(world->ram + X, 0, COUNT - X);
		(void)pthread_barrier_wait(&barrier);
		(void)pthread_barrier_wait(&barrier);
		wrong += is_checked ? both_read(pair->never[0], pair->never[1]) : 0;
		(void)pthread_barrier_wait(&barrier);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_true(p[i].is_good);
	}
	(void)pthread_barrier_destroy(&barrier);
	soft_blocks_free(second->blocks);
	free(second);
	assert_int_equal(wrong, 0);
}

#define CODES(zero, one)              \
	{ zero, one },                \
	{                             \
		zero##_end, one##_end \
	}

static void accesses_are_in_order(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ CODES(message_0, message_1), { 1, 0 } },
		{ CODES(load_0, load_1), { 1, 1 } },
		{ CODES(fence_0, fence_1), { 0, 0 } },
		{ CODES(exchange_0, exchange_1), { 0, 0 } },
	};
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		run_pair(&pairs[i], true);
}

static void locked_instructions_lose_nothing(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ CODES(count_inc, count_inc), { 0 } },
		{ CODES(count_add, count_compare), { 0 } },
		{ CODES(count_compare, count_inc), { 0 } },
	};
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		put(COUNT, 0, 8);
		run_pair(&pairs[i], false);
		assert_int_equal(get(COUNT, 8), 2 * LINES * ROUNDS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(accesses_are_in_order),
		WORLD_TEST(locked_instructions_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
