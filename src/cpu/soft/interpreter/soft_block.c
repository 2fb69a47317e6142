/* soft_block - see soft_block.h.
 *
 * A block lies in one page, but for an instruction across two, which is a block of its own and is
 * decoded anew each time it is in doubt.  Code changes in three ways, and each is seen:
 *
 *   the guest's kernel writes to the page: such pages have no write tag in the TLB, so the slow way
 *   counts the page's version up (soft_mmu.c), and a block of an older version is not run;
 *   a page table names another page: the host address that the block is found by is another;
 *   a device or a program in ring 3 writes to the page: an operating system maps a page anew before
 *   it runs what was put there so, and after each fill of the TLB (its stamp) a block is compared
 *   with the bytes before it runs again.
 *
 * Memory for blocks is one piece, filled from the front; when it is full all are forgotten. */
#include "cpu/soft/interpreter/soft_block.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/soft/interpreter/soft_decode.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_native.h"
#include "cpu/soft/soft_machine.h"

enum { INSTRUCTION_MAX = 15, HASH_LEN = 1 << 15, RECENT_LEN = 1 << 14 };
#define ARENA_BYTES ((size_t)8 << 20)

struct soft_blocks {
	uint8_t *arena; /* owned mapping */
	size_t used;
	struct soft_block *hash[HASH_LEN];
	struct soft_link recent[RECENT_LEN]; /* by linear address: first guess */
	struct soft_native *native;          /* owned: code that ops call */
	bool is_full;
	unsigned times_forgotten; /* all of them */
};

int soft_blocks_new(struct soft_blocks **ret_blocks, struct err *err)
{
	void *arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return err_sys(err, errno, "map memory for decoded code");
	struct soft_blocks *blocks = NEW(soft_blocks);
	blocks->arena = arena;
	int r = soft_native_new(&blocks->native, err);
	if (r < 0) {
		soft_blocks_free(blocks);
		return r;
	}
	*ret_blocks = blocks;
	return 0;
}

void soft_blocks_free(struct soft_blocks *blocks)
{
	if (blocks == NULL)
		return;
	(void)munmap(blocks->arena, ARENA_BYTES);
	soft_native_free(blocks->native);
	free(blocks);
}

static size_t block_bytes(size_t ops)
{
	size_t bytes =
		sizeof(struct soft_block) + ops * sizeof(struct soft_op) + ops * INSTRUCTION_MAX;
	return (bytes + 7) & ~(size_t)7;
}

/* Room for the longest block; what it does not need is given back when its length is known. */
static struct soft_block *block_take(struct soft_blocks *blocks)
{
	if (blocks->is_full || blocks->used + block_bytes(SOFT_BLOCK_OPS_MAX + 1) > ARENA_BYTES) {
		blocks->used = 0;
		blocks->is_full = false;
		blocks->times_forgotten++;
		soft_native_reset(blocks->native);
		memset(blocks->hash, 0, sizeof(blocks->hash));
		memset(blocks->recent, 0, sizeof(blocks->recent));
	}
	return (struct soft_block *)(void *)(blocks->arena + blocks->used);
}

static void go_behind(struct soft_vcpu *v, const struct soft_op *op)
{
	v->rip = soft_next_rip(v, op);
}

static void try_again(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	v->rip = soft_rip(v);
}

static void place(struct soft_op *op, size_t start)
{
	op->start = (uint16_t)start;
	if (op->base == GPR_BLOCK * 8 && op->is_memory)
		op->disp += (int64_t)start;
}

/* As many instructions as there are up to the page's end; false when not even one is whole. */
static bool decode_page(struct soft_vcpu *v, struct soft_block *b, const uint8_t *bytes, size_t len)
{
	size_t at = 0;
	b->ops_len = 0;
	enum soft_decoded r = SOFT_DECODED;
	while (r == SOFT_DECODED && b->ops_len < SOFT_BLOCK_OPS_MAX && at < len) {
		size_t left = len - at < INSTRUCTION_MAX ? len - at : INSTRUCTION_MAX;
		struct soft_op *op = &b->ops[b->ops_len];
		r = soft_decode(bytes + at, left, v->code_size, v->blocks->native, op);
		if (r == SOFT_DECODED_SHORT || r == SOFT_DECODED_FULL)
			break;
		place(op, at);
		at += op->len;
		b->ops_len++;
	}
	if (r == SOFT_DECODED_FULL) {
		/* This block ends before it; the next one begins with everything forgotten. */
		v->blocks->is_full = true;
		if (b->ops_len == 0)
			b->ops[b->ops_len++] = (struct soft_op){ .run = try_again };
	}
	if (b->ops_len == 0)
		return false;
	if (r != SOFT_DECODED_LAST)
		b->ops[b->ops_len++] = (struct soft_op){ .run = go_behind, .start = (uint16_t)at };
	b->bytes_len = (uint16_t)at;
	return true;
}

/* An instruction that goes on in the next page.  15 bytes that are none are #GP. */
static void decode_across(struct soft_vcpu *v, struct soft_block *b, const uint8_t *first,
	size_t len)
{
	uint8_t bytes[INSTRUCTION_MAX];
	memcpy(bytes, first, len);
	if (len < INSTRUCTION_MAX) {
		const uint8_t *second = soft_code_at(v, v->rip + len);
		if (second == NULL)
			soft_raise(v, VECTOR_UD);
		memcpy(bytes + len, second, INSTRUCTION_MAX - len);
	}
	b->is_across = true;
	if (!decode_page(v, b, bytes, INSTRUCTION_MAX))
		soft_raise_error(v, VECTOR_GP, 0);
	/* Only the one: what comes behind it is the next page's. */
	b->bytes_len = (uint16_t)(b->ops[0].start + b->ops[0].len);
	if (b->ops_len > 1) {
		b->ops[1] = (struct soft_op){ .run = go_behind, .start = b->bytes_len };
		b->ops_len = 2;
	}
}

/* Other processors, too, have to take the slow way to this page from now on; an operating system
 * that changes code which another processor runs has to make them meet anyhow. */
static uint32_t mark_code(struct soft_vcpu *v, const struct soft_range *range, const uint8_t *host)
{
	size_t offset = (size_t)(host - range->host) & ~(size_t)(SOFT_PAGE - 1);
	_Atomic uint32_t *code = &range->code[offset / SOFT_PAGE];
	if ((atomic_fetch_or(code, 1) & 1) == 0)
		soft_tlb_forget_writes(v, range->host + offset);
	return atomic_load(code);
}

static size_t hash_of(uint64_t address, unsigned code_size)
{
	return (size_t)((address + code_size) * 0x9e3779b97f4a7c15u >> 40);
}

static struct soft_block *decode(struct soft_vcpu *v, const uint8_t *host)
{
	struct soft_blocks *blocks = v->blocks;
	const struct soft_range *range = soft_range_of(v->machine, host);
	uint32_t version = mark_code(v, range, host);
	struct soft_block *b = block_take(blocks);
	*b = (struct soft_block){ .host = host,
		.code_size = v->code_size,
		.version = version,
		.page_version = &range->code[(size_t)(host - range->host) / SOFT_PAGE] };
	size_t left = (size_t)(SOFT_PAGE - (v->rip & (SOFT_PAGE - 1)));
	if (!decode_page(v, b, host, left))
		decode_across(v, b, host, left < INSTRUCTION_MAX ? left : INSTRUCTION_MAX);
	b->bytes = (uint8_t *)&b->ops[b->ops_len];
	if (b->is_across)
		return b; /* not kept: its place is the next block's */
	memcpy(b->bytes, host, b->bytes_len);
	size_t size = (size_t)(b->bytes + b->bytes_len - (uint8_t *)b);
	blocks->used += (size + 7) & ~(size_t)7;
	size_t slot = hash_of((uintptr_t)host, v->code_size) % HASH_LEN;
	b->next = blocks->hash[slot];
	blocks->hash[slot] = b;
	return b;
}

static bool is_current(const struct soft_block *b)
{
	return b->version == atomic_load_explicit(b->page_version, memory_order_acquire);
}

static struct soft_block *look_up(struct soft_vcpu *v, const uint8_t *host)
{
	size_t slot = hash_of((uintptr_t)host, v->code_size) % HASH_LEN;
	for (struct soft_block **link = &v->blocks->hash[slot]; *link != NULL;
		link = &(*link)->next) {
		struct soft_block *b = *link;
		if (b->host != host || b->code_size != v->code_size)
			continue;
		if (is_current(b) && memcmp(b->bytes, host, b->bytes_len) == 0)
			return b;
		*link = b->next;
		break;
	}
	return decode(v, host);
}

/* Whether b, which is or was at linear, is there now, and is what it was.  Stamps of the TLB are
 * unique: that of b's entry says that both are the same page, compared since. */
static inline bool is_at(struct soft_vcpu *v, const struct soft_block *b, uint64_t linear)
{
	struct soft_tlb_entry *e = soft_tlb_at(v->code_tlb, linear);
	return e->read == (linear & ~(SOFT_PAGE - 1)) && b->stamp == e->stamp &&
	       b->code_size == v->code_size && is_current(b);
}

struct soft_block *soft_block_find(struct soft_vcpu *v)
{
	/* Outside 64-bit mode rip is an offset in CS. */
	uint64_t linear = v->is_long ? v->rip : (uint32_t)(v->seg[SEG_CS].base + v->rip);
	struct soft_link *recent = &v->blocks->recent[hash_of(linear, v->code_size) % RECENT_LEN];
	if (recent->block != NULL && recent->rip == linear && is_at(v, recent->block, linear))
		return recent->block;
	if (!v->is_long)
		(void)soft_linear(v, SEG_CS, v->rip, 1, ACCESS_EXEC);
	const uint8_t *host = soft_code_at(v, linear);
	if (host == NULL)
		soft_raise(v, VECTOR_UD);
	struct soft_block *b = look_up(v, host);
	b->stamp = soft_tlb_at(v->code_tlb, linear)->stamp;
	*recent = (struct soft_link){ .block = b->is_across ? NULL : b, .rip = linear };
	return b;
}

struct soft_block *soft_block_follow(struct soft_vcpu *v, struct soft_block *last)
{
	if (!v->is_long || last->is_across)
		return soft_block_find(v);
	unsigned which = last->link[0].rip == v->rip ? 0 : 1;
	struct soft_link *link = &last->link[which];
	if (link->block != NULL && link->rip == v->rip && is_at(v, link->block, v->rip))
		return link->block;
	const unsigned times_forgotten = v->blocks->times_forgotten;
	struct soft_block *b = soft_block_find(v);
	if (b->is_across || v->blocks->times_forgotten != times_forgotten)
		return b;
	/* The first one stays: of two ways from a branch each gets its own. */
	link = &last->link[last->link[0].block == NULL ? 0 : which];
	*link = (struct soft_link){ .block = b, .rip = v->rip };
	return b;
}
