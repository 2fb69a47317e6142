/* fuzz_soft_code - a guest of the software CPU: any code, in any mode, from any state, over tables
 * that it may have damaged, also writing over itself.  The input is a header, places in memory with
 * what is written there, then the code.  It ends after so many blocks; whatever it did, the
 * processor is one that could be. */
#include "soft_world.h"

enum { BLOCKS = 300, PATCHES_MAX = 16, CODE_MAX = CODE_END - CODE };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct header {
	uint8_t mode, cpl, patches, interrupt;
	uint16_t code_segment, data_segment;
	uint64_t gpr[4], flags, cr0, cr4;
};

struct patch {
	uint32_t at;
	uint64_t value;
} __attribute__((packed));

static void set_state(const struct header *h)
{
	static const uint8_t registers[] = { RAX, RCX, RSI, RDI };
	struct soft_vcpu *v = &world->v;
	world_mode((enum world_mode)(h->mode % 3), (h->cpl & 1) != 0 ? 3 : 0);
	world->machine.model.is_amd = (h->cpl & 2) != 0;
	for (size_t i = 0; i < ARRAY_LEN(registers); i++)
		v->gpr[registers[i]] = h->gpr[i];
	soft_set_flags(v, h->flags & ~(uint64_t)(FLAG_VM | FLAG_RF));
	if ((h->cpl & 4) != 0)
		v->cr4 |= h->cr4 & soft_cr4_known(v) & ~(uint64_t)CR4_PCIDE;
	if ((h->cpl & 8) != 0)
		v->cr0 ^= h->cr0 & (CR0_WP | CR0_TS | CR0_EM | CR0_MP | CR0_NE | CR0_AM);
	v->unknown_code = UINT64_MAX; /* says nothing of them */
	soft_settle(v);
	soft_tlb_flush(v, true);
}

/* False: the processor shuts down. */
static bool run_blocks(const struct header *h)
{
	struct soft_vcpu *v = &world->v;
	for (unsigned i = 0; i < BLOCKS; i++) {
		int vector = run_some(UINT32_MAX);
		assert_could_be();
		if (vector >= 0 && !soft_deliver(v))
			return false;
		if (h->interrupt != 0 && i % 32 == 31 && !soft_interrupt(v, h->interrupt))
			return false;
		assert_could_be();
		v->is_halted = false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header h;
	if (size < sizeof(h))
		return 0;
	memcpy(&h, data, sizeof(h));
	data += sizeof(h);
	size -= sizeof(h);
	(void)world_new();
	set_state(&h);
	for (unsigned i = 0; i < h.patches % PATCHES_MAX && size >= sizeof(struct patch); i++) {
		struct patch patch;
		memcpy(&patch, data, sizeof(patch));
		data += sizeof(patch);
		size -= sizeof(patch);
		put(patch.at % (WORLD_RAM - 8), patch.value, 8);
	}
	/* Handlers go back to the code, so that what raises does not end it. */
	for (unsigned vector = 0; vector < 256; vector++) {
		put(handler_of(vector), 0xe9, 1);
		put(handler_of(vector) + 1, CODE - (handler_of(vector) + 5), 4);
	}
	memcpy(world->ram + CODE, data, size < CODE_MAX ? size : CODE_MAX);
	world->v.rip = CODE;
	(void)run_blocks(&h);
	world_free(world);
	return 0;
}
