/* soft_control - see soft_control.h.  Which bits CR4 and XCR0 have is what CPUID shows
 * (soft_cpuid.c). */
#include "cpu/soft/interpreter/soft_control.h"

#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/soft_cpuid.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_user.h"

#define CR0_ET (1u << 4)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_KNOWN                                                                                  \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
		CR0_PG)
#define CR3_NO_FLUSH (UINT64_C(1) << 63)
#define CR3_PCID 0xfffu
#define ADDRESS_BEYOND (~UINT64_C(0) << SOFT_PHYSICAL_BITS)
#define PDPTE_RESERVED (ADDRESS_BEYOND | 0x1e6)

static __attribute__((noreturn)) void refuse(struct soft_vcpu *v)
{
	soft_raise_error(v, VECTOR_GP, 0);
}

static void flush_all(struct soft_vcpu *v)
{
	soft_tlb_flush(v, true);
	soft_user_flush_all(v);
}

static bool is_pae(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && (efer & EFER_LMA) == 0;
}

/* The processor loads these four when CR3 is written; here the walk reads them each time, so they
 * are only checked. */
static void check_pointers(struct soft_vcpu *v, uint64_t cr3)
{
	void *host;
	if (!soft_physical(v, cr3 & 0xffffffe0, 32, &host))
		return;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t entry = soft_load64((uint8_t *)host + (size_t)i * 8);
		if ((entry & 1) != 0 && (entry & PDPTE_RESERVED) != 0)
			refuse(v);
	}
}

/* Long mode is entered by CR0.PG, with EFER.LME. */
static void check_long_start(struct soft_vcpu *v)
{
	const struct cpu_segment *tr = &v->seg[SEG_TR];
	bool is_tss16 = (tr->attributes & SEG_P) != 0 && (tr->attributes & 8) == 0;
	if ((v->cr4 & CR4_PAE) == 0 || (v->seg[SEG_CS].attributes & SEG_L) != 0 || is_tss16)
		refuse(v);
}

void soft_set_cr0(struct soft_vcpu *v, uint64_t value)
{
	if (value >> 32 != 0)
		refuse(v);
	value = (value & CR0_KNOWN) | CR0_ET;
	bool has_paging = (value & CR0_PG) != 0, had_paging = (v->cr0 & CR0_PG) != 0;
	if ((value & (CR0_CD | CR0_NW)) == CR0_NW || (has_paging && (value & CR0_PE) == 0))
		refuse(v);
	if (!has_paging && (v->is_long || (v->cr4 & CR4_PCIDE) != 0))
		refuse(v);
	uint64_t efer = v->efer;
	if (has_paging && !had_paging && (efer & EFER_LME) != 0) {
		check_long_start(v);
		efer |= EFER_LMA;
	} else if (!has_paging) {
		efer &= ~(uint64_t)EFER_LMA;
	}
	if (is_pae(value, v->cr4, efer))
		check_pointers(v, v->cr3);
	uint64_t changed = v->cr0 ^ value;
	v->cr0 = value;
	v->efer = efer;
	/* WP is not for ring 3. */
	if ((changed & (CR0_PG | CR0_WP | CR0_PE)) != 0)
		soft_tlb_flush(v, true);
	if ((changed & (CR0_PG | CR0_PE)) != 0)
		soft_user_flush_all(v);
	soft_settle(v);
}

void soft_set_cr3(struct soft_vcpu *v, uint64_t value)
{
	bool has_pcid = (v->cr4 & CR4_PCIDE) != 0;
	bool may_stay = has_pcid && (value & CR3_NO_FLUSH) != 0;
	if (has_pcid)
		value &= ~CR3_NO_FLUSH;
	bool is_lma = (v->efer & EFER_LMA) != 0;
	if (is_lma ? (value & ADDRESS_BEYOND) != 0 : value >> 32 != 0)
		refuse(v);
	if (is_pae(v->cr0, v->cr4, v->efer))
		check_pointers(v, value);
	bool is_same = v->cr3 == value;
	v->cr3 = value;
	/* "Do not flush" is for what is kept by PCID: ring 3's; of the TLB, only if all stays. */
	if (!may_stay || !is_same)
		soft_tlb_flush(v, false);
	if (!may_stay)
		soft_user_flush(v, has_pcid ? value & CR3_PCID : 0);
}

void soft_set_cr4(struct soft_vcpu *v, uint64_t value)
{
	uint64_t changed = v->cr4 ^ value;
	bool is_lma = (v->efer & EFER_LMA) != 0;
	if ((value & ~soft_cr4_known(v)) != 0 || (is_lma && (value & CR4_PAE) == 0))
		refuse(v);
	if ((changed & value & CR4_PCIDE) != 0 && (!is_lma || (v->cr3 & CR3_PCID) != 0))
		refuse(v);
	if ((changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP)) != 0 &&
		is_pae(v->cr0, value, v->efer))
		check_pointers(v, v->cr3);
	v->cr4 = value;
	if ((changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)) != 0)
		flush_all(v);
	soft_settle(v);
}

void soft_set_efer(struct soft_vcpu *v, uint64_t value)
{
	const uint64_t known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	uint64_t changed = v->efer ^ value;
	if ((value & ~known) != 0)
		refuse(v);
	if ((changed & EFER_LME) != 0 && (v->cr0 & CR0_PG) != 0)
		refuse(v);
	/* LMA is the processor's: what is written there does not matter. */
	v->efer = (value & ~(uint64_t)EFER_LMA) | (v->efer & EFER_LMA);
	if ((changed & EFER_NXE) != 0)
		flush_all(v);
}

void soft_set_xcr0(struct soft_vcpu *v, uint64_t value)
{
	bool has_all = (value & XCR0_X87) != 0 &&
		       ((value & XCR0_AVX) == 0 || (value & XCR0_SSE) != 0) &&
		       ((value & XCR0_AVX512) == 0 ||
			       (value & (XCR0_AVX512 | XCR0_AVX)) == (XCR0_AVX512 | XCR0_AVX));
	if (!has_all || (value & ~v->machine->model.xcr0) != 0)
		refuse(v);
	v->xcr0 = value;
}
