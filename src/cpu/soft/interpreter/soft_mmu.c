/* soft_mmu - page tables and the software TLB (Intel SDM 3, chapter 4).
 *
 * A TLB entry may be thrown away at any time, so flushes may take more than was asked for: entries
 * are not kept apart by PCID, and each change of CR3 takes all that are not global.  What must not
 * happen is that one stays too long; a large page is cut into small ones here, so that a flush of
 * one of its addresses has to find them all (is_large).
 *
 * Accessed and dirty bits are set by an atomic exchange, so that another processor's change of the
 * entry is never lost; if the entry has changed, the walk starts again.  An entry gets its `write`
 * tag only with the dirty bit set, and never for a page that has decoded code (soft_machine.h). */
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/soft_machine.h"

#define ENTRY_P UINT64_C(0x001)
#define ENTRY_W UINT64_C(0x002)
#define ENTRY_U UINT64_C(0x004)
#define ENTRY_A UINT64_C(0x020)
#define ENTRY_D UINT64_C(0x040)
#define ENTRY_LARGE UINT64_C(0x080)
#define ENTRY_G UINT64_C(0x100)
#define ENTRY_NX (UINT64_C(1) << 63)
#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)
#define ENTRY_BEYOND (UINT64_C(0x000fffffffffffff) & ~(((UINT64_C(1) << SOFT_PHYSICAL_BITS) - 1)))

#define FAULT_PRESENT 0x01u
#define FAULT_WRITE 0x02u
#define FAULT_USER 0x04u
#define FAULT_RESERVED 0x08u
#define FAULT_FETCH 0x10u

struct walk {
	enum soft_access access;
	enum soft_view view;
	uint64_t entry;    /* the last one read */
	uint64_t all, any; /* over the levels: W and U have to be in all, NX is enough in any */
	uint32_t error;    /* for #PF */
	unsigned shift;    /* of the page found */
};

enum { WALK_DONE, WALK_FAULT, WALK_AGAIN };

/* ---- one walk ---- */

static bool is_allowed(const struct soft_vcpu *v, const struct walk *w, enum soft_access access)
{
	bool is_user_page = (w->all & ENTRY_U) != 0, is_writable = (w->all & ENTRY_W) != 0;
	if (access == ACCESS_EXEC && (w->any & ENTRY_NX) != 0)
		return false;
	if (w->view == VIEW_USER)
		return is_user_page && (access != ACCESS_WRITE || is_writable);
	if (is_user_page && access == ACCESS_EXEC && (v->cr4 & CR4_SMEP) != 0)
		return false;
	if (is_user_page && access != ACCESS_EXEC && (v->cr4 & CR4_SMAP) != 0 &&
		w->view == VIEW_KERNEL)
		return false;
	return access != ACCESS_WRITE || is_writable || (v->cr0 & CR0_WP) == 0;
}

/* Sets bits of the entry at gpa, if it still is what was read. */
static bool mark(struct soft_vcpu *v, uint64_t gpa, unsigned width, uint64_t *entry, uint64_t bits)
{
	void *host;
	if ((*entry & bits) == bits)
		return true;
	if (!soft_physical(v, gpa, width, &host))
		return false;
	uint64_t wanted = *entry | bits;
	if (width == 4) {
		uint32_t old = (uint32_t)*entry;
		if (!__atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t)wanted, false,
			    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return false;
	} else {
		uint64_t old = *entry;
		if (!__atomic_compare_exchange_n((uint64_t *)host, &old, wanted, false,
			    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return false;
	}
	*entry = wanted;
	return true;
}

/* What page tables look like in a mode, from the top. */
struct level {
	unsigned shift, bits; /* of the linear address: which entry */
	bool may_be_page;
	bool has_rights; /* W, U and NX count (not in PAE's pointers) */
};
static const struct paging {
	unsigned width; /* of an entry */
	unsigned levels;
	struct level level[4];
} paging_4level = { 8, 4,
	{ { 39, 9, false, true }, { 30, 9, true, true }, { 21, 9, true, true },
		{ 12, 9, true, true } } },
  paging_pae = { 8, 3, { { 30, 2, false, false }, { 21, 9, true, true }, { 12, 9, true, true } } },
  paging_32 = { 4, 2, { { 22, 10, true, true }, { 12, 10, true, true } } };

static uint64_t reserved_bits(const struct soft_vcpu *v, const struct paging *paging,
	const struct level *level, uint64_t entry)
{
	if (paging->width == 4)
		return 0;
	uint64_t reserved = ENTRY_BEYOND;
	if ((v->efer & EFER_NXE) == 0 || !level->has_rights)
		reserved |= ENTRY_NX;
	if (!level->has_rights)
		reserved |= 0x1e6;
	if (paging == &paging_pae)
		reserved |= UINT64_C(0x7ff) << 52;
	bool is_large = level->shift > 12 && (entry & ENTRY_LARGE) != 0;
	if (is_large && !level->may_be_page)
		reserved |= ENTRY_LARGE;
	else if (is_large)
		reserved |= ((UINT64_C(1) << level->shift) - 1) & ~UINT64_C(0x1fff);
	return reserved;
}

static bool is_page(const struct soft_vcpu *v, const struct paging *paging,
	const struct level *level, uint64_t entry)
{
	if (level->shift == 12)
		return true;
	if (!level->may_be_page || (entry & ENTRY_LARGE) == 0)
		return false;
	return paging->width == 8 || (v->cr4 & CR4_PSE) != 0;
}

static bool read_entry(struct soft_vcpu *v, uint64_t gpa, unsigned width, uint64_t *ret_entry)
{
	void *host;
	if (!soft_physical(v, gpa, width, &host))
		return false;
	*ret_entry = width == 4 ? soft_load32(host) : soft_load64(host);
	return true;
}

/* 32-bit paging keeps address bits 32 .. 39 of a large page in the entry's bits 13 .. 20. */
static uint64_t page_base(const struct paging *paging, const struct walk *w)
{
	uint64_t base = w->entry & ENTRY_ADDRESS & ~((UINT64_C(1) << w->shift) - 1);
	if (paging->width == 4 && w->shift == 22)
		base = (w->entry & 0xffc00000) | ((w->entry >> 13) & 0xff) << 32;
	return base;
}

static int finish(struct soft_vcpu *v, const struct paging *paging, struct walk *w,
	uint64_t entry_gpa, uint64_t linear, struct soft_translation *ret)
{
	if (!is_allowed(v, w, w->access)) {
		w->error |= FAULT_PRESENT;
		return WALK_FAULT;
	}
	uint64_t bits = ENTRY_A | (w->access == ACCESS_WRITE ? ENTRY_D : 0);
	if (!mark(v, entry_gpa, paging->width, &w->entry, bits))
		return WALK_AGAIN;
	ret->gpa = page_base(paging, w) | (linear & ((UINT64_C(1) << w->shift) - 1));
	ret->is_global = (w->entry & ENTRY_G) != 0 && (v->cr4 & CR4_PGE) != 0;
	ret->is_large = w->shift > 12;
	ret->can_write = (w->entry & ENTRY_D) != 0 && is_allowed(v, w, ACCESS_WRITE);
	ret->can_execute = is_allowed(v, w, ACCESS_EXEC);
	return WALK_DONE;
}

static int walk(struct soft_vcpu *v, const struct paging *paging, uint64_t linear, struct walk *w,
	struct soft_translation *ret)
{
	uint64_t table = v->cr3 & (paging == &paging_pae ? UINT64_C(0xffffffe0) : ENTRY_ADDRESS);
	if (paging->width == 4)
		table &= UINT32_MAX;
	w->all = ENTRY_W | ENTRY_U;
	w->any = 0;
	for (unsigned i = 0; i < paging->levels; i++) {
		const struct level *level = &paging->level[i];
		uint64_t index = (linear >> level->shift) & ((1u << level->bits) - 1);
		uint64_t gpa = table + index * paging->width;
		/* Page tables where no memory is read as all ones would on a PC: not present. */
		if (!read_entry(v, gpa, paging->width, &w->entry) || (w->entry & ENTRY_P) == 0)
			return WALK_FAULT;
		if ((w->entry & reserved_bits(v, paging, level, w->entry)) != 0) {
			w->error |= FAULT_PRESENT | FAULT_RESERVED;
			return WALK_FAULT;
		}
		if (level->has_rights) {
			w->all &= w->entry;
			w->any |= w->entry;
		}
		w->shift = level->shift;
		if (is_page(v, paging, level, w->entry))
			return finish(v, paging, w, gpa, linear, ret);
		if (level->has_rights && !mark(v, gpa, paging->width, &w->entry, ENTRY_A))
			return WALK_AGAIN;
		table = w->entry & ENTRY_ADDRESS;
	}
	return WALK_FAULT;
}

static const struct paging *paging_of(const struct soft_vcpu *v)
{
	return (v->efer & EFER_LMA) != 0 ? &paging_4level
	       : (v->cr4 & CR4_PAE) != 0 ? &paging_pae
					 : &paging_32;
}

static bool is_canonical(uint64_t linear)
{
	return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

static uint32_t error_of(const struct soft_vcpu *v, const struct walk *w)
{
	bool tells_fetch =
		(v->cr4 & CR4_SMEP) != 0 || ((v->efer & EFER_NXE) != 0 && (v->cr4 & CR4_PAE) != 0);
	return w->error | (w->access == ACCESS_WRITE ? FAULT_WRITE : 0) |
	       (w->view == VIEW_USER ? FAULT_USER : 0) |
	       (w->access == ACCESS_EXEC && tells_fetch ? FAULT_FETCH : 0);
}

bool soft_translate(struct soft_vcpu *v, uint64_t linear, enum soft_access access,
	enum soft_view view, struct soft_translation *ret, uint32_t *ret_error)
{
	if ((v->cr0 & CR0_PG) == 0) {
		*ret = (struct soft_translation){ .gpa = linear & UINT32_MAX,
			.can_write = true,
			.can_execute = true };
		return true;
	}
	int r;
	struct walk w;
	do {
		w = (struct walk){ .access = access, .view = view };
		r = walk(v, paging_of(v), linear, &w, ret);
	} while (r == WALK_AGAIN);
	if (r == WALK_FAULT)
		*ret_error = error_of(v, &w);
	return r == WALK_DONE;
}

/* ---- the TLB ---- */

static void drop(struct soft_tlb *tlb, unsigned i)
{
	const uint64_t others = ~(UINT64_C(1) << i % 64);
	tlb->entry[i].read = tlb->entry[i].write = SOFT_NO_PAGE;
	tlb->used[i / 64] &= others;
	tlb->global[i / 64] &= others;
	tlb->large[i / 64] &= others;
}

static void take(struct soft_tlb *tlb, unsigned i, const struct soft_translation *t)
{
	const uint64_t bit = UINT64_C(1) << i % 64;
	drop(tlb, i);
	tlb->used[i / 64] |= bit;
	tlb->global[i / 64] |= t->is_global ? bit : 0;
	tlb->large[i / 64] |= t->is_large ? bit : 0;
}

static unsigned tlb_of(enum soft_access access, enum soft_view view)
{
	return access != ACCESS_EXEC ? view : view == VIEW_USER ? TLB_CODE_USER : TLB_CODE;
}

static void fill(struct soft_vcpu *v, uint64_t linear, enum soft_access access, enum soft_view view,
	const struct soft_translation *t, const struct soft_range *range)
{
	struct soft_tlb *tlb = &v->tlb[tlb_of(access, view)];
	unsigned i = soft_tlb_index(linear);
	struct soft_tlb_entry *e = &tlb->entry[i];
	uint64_t page = linear & ~(SOFT_PAGE - 1);
	uint64_t offset = (t->gpa & ~(SOFT_PAGE - 1)) - range->gpa;
	uintptr_t addend = (uintptr_t)(range->host + offset) - page;
	/* Another page was here, or the page has moved. */
	if (e->addend != addend || e->read != page)
		take(tlb, i, t);
	e->addend = addend;
	e->read = page;
	if (access == ACCESS_EXEC)
		e->stamp = ++v->tlb_stamp;
	else if (t->can_write && !range->read_only &&
		 (atomic_load(&range->code[offset / SOFT_PAGE]) & 1) == 0)
		e->write = page;
}

void soft_tlb_init(struct soft_vcpu *v)
{
	for (unsigned tlb = 0; tlb < TLBS; tlb++)
		for (unsigned i = 0; i < SOFT_TLB_LEN; i++)
			drop(&v->tlb[tlb], i);
}

/* The lowest of the bits in *bits, which it takes out. */
static unsigned next_bit(uint64_t *bits)
{
	unsigned i = (unsigned)__builtin_ctzll(*bits);
	*bits &= *bits - 1;
	return i;
}

static void flush(struct soft_tlb *tlb, bool with_global)
{
	for (unsigned word = 0; word < SOFT_TLB_WORDS; word++) {
		uint64_t bits = tlb->used[word] & (with_global ? UINT64_MAX : ~tlb->global[word]);
		while (bits != 0)
			drop(tlb, word * 64 + next_bit(&bits));
	}
}

void soft_tlb_flush(struct soft_vcpu *v, bool with_global)
{
	for (unsigned tlb = 0; tlb < TLBS; tlb++)
		flush(&v->tlb[tlb], with_global);
}

/* What is there of a large page may be at any address of it: of the largest that there are. */
static void flush_large(struct soft_tlb *tlb, uint64_t linear)
{
	enum { LARGEST_SHIFT = 30 };
	for (unsigned word = 0; word < SOFT_TLB_WORDS; word++) {
		uint64_t bits = tlb->large[word];
		while (bits != 0) {
			unsigned i = word * 64 + next_bit(&bits);
			if (tlb->entry[i].read >> LARGEST_SHIFT == linear >> LARGEST_SHIFT)
				drop(tlb, i);
		}
	}
}

void soft_tlb_flush_page(struct soft_vcpu *v, uint64_t linear)
{
	for (unsigned tlb = 0; tlb < TLBS; tlb++) {
		drop(&v->tlb[tlb], soft_tlb_index(linear));
		flush_large(&v->tlb[tlb], linear);
	}
}

static void forget_writes(struct soft_tlb *tlb, const uint8_t *host_page)
{
	for (unsigned word = 0; word < SOFT_TLB_WORDS; word++) {
		uint64_t bits = tlb->used[word];
		while (bits != 0) {
			struct soft_tlb_entry *e = &tlb->entry[word * 64 + next_bit(&bits)];
			if (e->write != SOFT_NO_PAGE &&
				e->write + e->addend == (uintptr_t)host_page)
				e->write = SOFT_NO_PAGE;
		}
	}
}

void soft_tlb_forget_writes(struct soft_vcpu *v, const uint8_t *host_page)
{
	for (unsigned view = 0; view < VIEWS; view++)
		forget_writes(&v->tlb[view], host_page);
}

/* ---- accesses ---- */

struct soft_range *soft_range_at(struct soft_machine *machine, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < machine->ranges; i++) {
		struct soft_range *range = &machine->range[i];
		if (gpa >= range->gpa && gpa - range->gpa < range->size &&
			len <= range->size - (gpa - range->gpa))
			return range;
	}
	return NULL;
}

struct soft_range *soft_range_of(struct soft_machine *machine, const uint8_t *host)
{
	for (unsigned i = 0; i < machine->ranges; i++) {
		struct soft_range *range = &machine->range[i];
		if (host >= range->host && (uint64_t)(host - range->host) < range->size)
			return range;
	}
	return NULL;
}

bool soft_physical(struct soft_vcpu *v, uint64_t gpa, size_t len, void **ret_host)
{
	struct soft_range *range = soft_range_at(v->machine, gpa, len);
	if (range == NULL || range->read_only)
		return false;
	*ret_host = range->host + (gpa - range->gpa);
	return true;
}

/* Raises what the access meets; else where it is, and a TLB entry where that is memory. */
static uint64_t find(struct soft_vcpu *v, uint64_t linear, enum soft_access access,
	enum soft_view view, struct soft_range **ret_range)
{
	struct soft_translation t;
	uint32_t error = 0;
	if ((v->efer & EFER_LMA) != 0 && !is_canonical(linear))
		soft_raise_error(v,
			v->op != NULL && v->op->segment == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
	if (!soft_translate(v, linear, access, view, &t, &error))
		soft_raise_fault(v, linear, error);
	*ret_range = soft_range_at(v->machine, t.gpa, 1);
	if (*ret_range != NULL)
		fill(v, linear, access, view, &t, *ret_range);
	return t.gpa;
}

/* A device's register: in pieces that registers have. */
static void access_device(struct soft_vcpu *v, uint64_t gpa, uint8_t *bytes, size_t len,
	bool is_write)
{
	while (len > 0) {
		size_t piece = len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
		while (gpa % piece != 0)
			piece /= 2;
		soft_mmio(v, gpa, bytes, (uint32_t)piece, is_write);
		gpa += piece;
		bytes += piece;
		len -= piece;
	}
}

static void copy(void *to, const void *from, size_t len)
{
	switch (len) {
	case 1: soft_store8(to, soft_load8(from)); break;
	case 2: soft_store16(to, soft_load16(from)); break;
	case 4: soft_store32(to, soft_load32(from)); break;
	case 8: soft_store64(to, soft_load64(from)); break;
	default: memcpy(to, from, len); break;
	}
}

/* [linear, linear + len) is in one page. */
static void access_page(struct soft_vcpu *v, uint64_t linear, uint8_t *bytes, size_t len,
	enum soft_access access, enum soft_view view)
{
	struct soft_range *range;
	uint64_t gpa = find(v, linear, access, view, &range);
	if (range == NULL || (range->read_only && access == ACCESS_WRITE)) {
		access_device(v, gpa, bytes, len, access == ACCESS_WRITE);
		return;
	}
	uint64_t offset = gpa - range->gpa;
	if (access == ACCESS_READ) {
		copy(bytes, range->host + offset, len);
		return;
	}
	copy(range->host + offset, bytes, len);
	_Atomic uint32_t *code = &range->code[offset / SOFT_PAGE];
	if ((atomic_load(code) & 1) != 0)
		(void)atomic_fetch_add(code, 2);
}

/* How much of an access is in its first page. */
static size_t first_part(uint64_t linear, size_t len)
{
	size_t left = (size_t)(SOFT_PAGE - (linear & (SOFT_PAGE - 1)));
	return len < left ? len : left;
}

/* Outside 64-bit mode linear addresses are 32 bits wide. */
static uint64_t behind(const struct soft_vcpu *v, uint64_t linear, size_t len)
{
	return (v->efer & EFER_LMA) != 0 ? linear + len : (uint32_t)(linear + len);
}

void soft_touch(struct soft_vcpu *v, uint64_t linear, size_t len, enum soft_access access,
	enum soft_view view)
{
	struct soft_range *range;
	size_t first = first_part(linear, len);
	(void)find(v, linear, access, view, &range);
	if (first < len)
		(void)find(v, behind(v, linear, first), access, view, &range);
}

uint64_t soft_read_slow(struct soft_vcpu *v, uint64_t linear, unsigned size, enum soft_view view)
{
	uint64_t value = 0;
	soft_read_bytes(v, linear, &value, size, view);
	return value;
}

void soft_write_slow(struct soft_vcpu *v, uint64_t linear, unsigned size, uint64_t value,
	enum soft_view view)
{
	soft_write_bytes(v, linear, &value, size, view);
}

void soft_read_bytes(struct soft_vcpu *v, uint64_t linear, void *bytes, size_t len,
	enum soft_view view)
{
	size_t first = first_part(linear, len);
	if (first < len)
		soft_touch(v, linear, len, ACCESS_READ, view);
	access_page(v, linear, bytes, first, ACCESS_READ, view);
	if (first < len)
		access_page(v, behind(v, linear, first), (uint8_t *)bytes + first, len - first,
			ACCESS_READ, view);
}

void soft_write_bytes(struct soft_vcpu *v, uint64_t linear, const void *bytes, size_t len,
	enum soft_view view)
{
	uint8_t copied[SOFT_PAGE];
	size_t first = first_part(linear, len);
	memcpy(copied, bytes, len);
	if (first < len)
		soft_touch(v, linear, len, ACCESS_WRITE, view);
	access_page(v, linear, copied, first, ACCESS_WRITE, view);
	if (first < len)
		access_page(v, behind(v, linear, first), copied + first, len - first, ACCESS_WRITE,
			view);
}

void *soft_writable_slow(struct soft_vcpu *v, uint64_t linear, size_t len)
{
	soft_touch(v, linear, len, ACCESS_WRITE, v->view);
	struct soft_tlb_entry *e = soft_tlb_at(v->data_tlb, linear);
	return soft_is_within(e->write, linear, len) ? (void *)(linear + e->addend) : NULL;
}

const uint8_t *soft_code_at(struct soft_vcpu *v, uint64_t linear)
{
	struct soft_tlb_entry *e = soft_tlb_at(v->code_tlb, linear);
	if (e->read == (linear & ~(SOFT_PAGE - 1)))
		return (const uint8_t *)(linear + e->addend);
	struct soft_range *range;
	uint64_t gpa = find(v, linear, ACCESS_EXEC, v->cpl == 3 ? VIEW_USER : VIEW_KERNEL, &range);
	return range != NULL ? range->host + (gpa - range->gpa) : NULL;
}
