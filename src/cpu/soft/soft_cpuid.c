/* soft_cpuid - see soft_cpuid.h.
 *
 * The model is a fixed list (soft_features.def), less what this host lacks, since ring 3 runs on it
 * directly; the vendor is the host's for the same reason.  Family and model are a recent
 * processor's with few known faults, so that a guest's kernel does not work around those of
 * another.
 *
 * Where the host cannot make CPUID fault, ring 3 sees the host's, and uses AVX-512 where that has
 * it: then the guest's kernel has to know, or it would not keep its registers apart.  It is shown
 * no more of it than that, so that it does not use it itself. Frequencies (0x15, 0x16) are not
 * shown: they would be wrong once the guest moves; it has KVM's clock instead.
 *
 * Leaves as in the Intel SDM 2 (CPUID), the AMD APM 3, appendix E, and KVM's cpuid.rst. */
#include "cpu/soft/soft_cpuid.h"

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cpu/soft/soft_machine.h"

#define LEAF_BASIC_MAX 0xdu
#define LEAF_FEATURES 1u
#define LEAF_DESCRIPTORS 2u
#define LEAF_CACHES 4u
#define LEAF_MORE_FEATURES 7u
#define LEAF_TOPOLOGY 0xbu
#define LEAF_XSTATE 0xdu
#define LEAF_KVM 0x40000000u
#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_EXTENDED 0x80000000u
#define LEAF_EXTENDED_FEATURES 0x80000001u
#define LEAF_BRAND 0x80000002u
#define LEAF_AMD_L1 0x80000005u
#define LEAF_L2 0x80000006u
#define LEAF_SIZES 0x80000008u
#define LEAF_EXTENDED_MAX LEAF_SIZES

#define SIGNATURE_AMD 0x00b00f21u   /* family 26 */
#define SIGNATURE_INTEL 0x000806f8u /* family 6, model 143 */
#define ECX_OSXSAVE (1u << 27)
#define EDX_HTT (1u << 28)
#define HWCAP2_FSGSBASE (1u << 1)
#define ARCH_SET_CPUID 0x1012
#define KVM_NOP_IO_DELAY (1u << 1)
#define KVM_CLOCKSOURCE2 (1u << 3)
#define KVM_CLOCK_STABLE (1u << 24)
#define XSAVEOPT 1u

enum { XSTATE_SSE_BYTES = 576 };
enum { VIRTUAL_BITS = 48, CACHE_LINE = 64 };

enum from { OURS, HOST, HOST_XSAVE, HOST_AVX, HOST_AVX512, HOST_BASES };

static const struct feature {
	uint32_t leaf;
	uint8_t reg, bit;
	enum from from;
	uint64_t cr4;
} features[] = {
#define FEATURE(leaf, reg, bit, from, cr4, name) { leaf, reg, bit, from, cr4 },
#include "cpu/soft/interpreter/soft_features.def"
#undef FEATURE
};

/* ---- the host ---- */

static uint64_t host_xcr0(void)
{
	uint32_t regs[REGS_CPUID], low, high;
	__cpuid(1, regs[0], regs[1], regs[2], regs[3]);
	if ((regs[REG_ECX] & ECX_OSXSAVE) == 0)
		return 0;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

/* Which bits of MXCSR there are: 0 in older processors' images means these. */
static uint32_t host_mxcsr_mask(void)
{
	static const uint32_t common = 0xffbf;
	struct {
		uint32_t words[128];
	} __attribute__((aligned(16))) image = { { 0 } };
	__asm__ volatile("fxsave %0" : "=m"(image));
	return image.words[7] != 0 ? image.words[7] : common;
}

/* Whether this host's CPUID is what ring 3 sees. */
static bool host_cpuid_shows(void)
{
	return syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1) != 0;
}

static bool host_has(const struct feature *f, uint64_t xcr0)
{
	const uint64_t with_avx = XCR0_X87 | XCR0_SSE | XCR0_AVX,
		       with_avx512 = with_avx | XCR0_AVX512;
	uint32_t regs[REGS_CPUID];
	if (f->from == OURS)
		return true;
	if (f->from == HOST_XSAVE && xcr0 == 0)
		return false;
	if (f->from == HOST_AVX && (xcr0 & with_avx) != with_avx)
		return false;
	if (f->from == HOST_AVX512 && ((xcr0 & with_avx512) != with_avx512 || !host_cpuid_shows()))
		return false;
	if (f->from == HOST_BASES && (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) == 0)
		return false;
	return __get_cpuid_count(f->leaf, 0, &regs[0], &regs[1], &regs[2], &regs[3]) != 0 &&
	       ((regs[f->reg] >> f->bit) & 1) != 0;
}

/* ---- leaves ---- */

static uint32_t *add(struct soft_model *m, uint32_t leaf, uint32_t subleaf, bool is_indexed)
{
	struct soft_leaf *l = &m->leaf[m->leaves++];
	*l = (struct soft_leaf){ .leaf = leaf, .subleaf = subleaf, .is_indexed = is_indexed };
	return l->regs;
}

/* The first subleaf, made if need be. */
static uint32_t *regs_of(struct soft_model *m, uint32_t leaf)
{
	for (unsigned i = 0; i < m->leaves; i++)
		if (m->leaf[i].leaf == leaf && m->leaf[i].subleaf == 0)
			return m->leaf[i].regs;
	return add(m, leaf, 0, leaf == LEAF_MORE_FEATURES);
}

static void add_values(struct soft_model *m, uint32_t leaf, uint32_t eax, uint32_t ebx,
	uint32_t ecx, uint32_t edx)
{
	uint32_t *regs = regs_of(m, leaf);
	regs[REG_EAX] |= eax;
	regs[REG_EBX] |= ebx;
	regs[REG_ECX] |= ecx;
	regs[REG_EDX] |= edx;
}

static void add_features(struct soft_model *m)
{
	uint64_t xcr0 = host_xcr0();
	m->cr4 = 1u << 8; /* PCE: has no bit of its own */
	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		const struct feature *f = &features[i];
		if (!host_has(f, xcr0))
			continue;
		regs_of(m, f->leaf)[f->reg] |= 1u << f->bit;
		m->cr4 |= f->cr4;
		if (f->from == HOST_AVX512)
			m->xcr0 |= XCR0_AVX512;
	}
	m->xcr0 |= XCR0_X87;
	if ((m->cr4 & CR4_OSXSAVE) != 0)
		m->xcr0 |= xcr0 & (XCR0_SSE | XCR0_AVX);
}

static void add_vendor(struct soft_model *m)
{
	uint32_t host[REGS_CPUID];
	__cpuid(0, host[0], host[1], host[2], host[3]);
	const uint32_t name[] = { host[REG_EBX], host[REG_EDX], host[REG_ECX] };
	m->is_amd = memcmp(name, "AuthenticAMD", 12) == 0 || memcmp(name, "HygonGenuine", 12) == 0;
	add_values(m, 0, LEAF_BASIC_MAX, name[0], name[2], name[1]);
	/* AMD has the name in both places. */
	if (m->is_amd)
		add_values(m, LEAF_EXTENDED, LEAF_EXTENDED_MAX, name[0], name[2], name[1]);
	else
		add_values(m, LEAF_EXTENDED, LEAF_EXTENDED_MAX, 0, 0, 0);
	static const char brand[3 * 16] = "moat portable processor";
	for (unsigned i = 0; i < 3; i++)
		memcpy(add(m, LEAF_BRAND + i, 0, false), brand + (size_t)i * 16, 16);
}

/* Bits that an APIC id needs for this many cores. */
static unsigned id_bits(unsigned cpus)
{
	unsigned bits = 0;
	while ((1u << bits) < cpus)
		bits++;
	return bits;
}

/* One package of cores with one thread each. */
static void add_topology(struct soft_model *m)
{
	enum { THREADS = 1 << 8, CORES = 2 << 8 };
	uint32_t *regs = regs_of(m, LEAF_FEATURES);
	regs[REG_EAX] = m->is_amd ? SIGNATURE_AMD : SIGNATURE_INTEL;
	regs[REG_EBX] = CACHE_LINE / 8 << 8 | m->cpus << 16;
	if (m->cpus > 1)
		regs[REG_EDX] |= EDX_HTT;

	regs = add(m, LEAF_TOPOLOGY, 0, true);
	regs[REG_EBX] = 1;
	regs[REG_ECX] = THREADS;
	regs = add(m, LEAF_TOPOLOGY, 1, true);
	regs[REG_EAX] = id_bits(m->cpus);
	regs[REG_EBX] = m->cpus;
	regs[REG_ECX] = 1 | CORES;
	(void)add(m, LEAF_TOPOLOGY, 2, true);

	uint32_t cores = m->is_amd ? (m->cpus - 1) | id_bits(m->cpus) << 12 : 0;
	add_values(m, LEAF_SIZES, SOFT_PHYSICAL_BITS | VIRTUAL_BITS << 8, 0, cores, 0);
}

/* A common desktop's: 32 KiB for code and for data, 1 MiB a core, 16 MiB for all. */
static const struct cache {
	uint8_t type, level, ways;
	uint32_t sets;
} caches[] = {
	{ 1, 1, 8, 64 },
	{ 2, 1, 8, 64 },
	{ 3, 2, 16, 1024 },
	{ 3, 3, 16, 16384 },
};

static void add_caches(struct soft_model *m)
{
	uint32_t all = (1u << id_bits(m->cpus)) - 1;
	if (m->is_amd) {
		const uint32_t l1 = 32u << 24 | 8 << 16 | 1 << 8 | CACHE_LINE;
		const uint32_t ways16 = 8u << 12 | 1 << 8 | CACHE_LINE;
		add_values(m, LEAF_AMD_L1, 0, 0, l1, l1);
		add_values(m, LEAF_L2, 0, 0, 1024u << 16 | ways16, 32u << 18 | ways16);
		return;
	}
	add_values(m, LEAF_DESCRIPTORS, 0x00feff01, 0, 0, 0); /* "see leaf 4" */
	for (unsigned i = 0; i < ARRAY_LEN(caches); i++) {
		const struct cache *c = &caches[i];
		uint32_t *regs = add(m, LEAF_CACHES, i, true);
		regs[REG_EAX] = c->type | (uint32_t)c->level << 5 | 1 << 8 |
				(c->level == 3 ? all : 0) << 14 | all << 26;
		regs[REG_EBX] = (CACHE_LINE - 1) | (c->ways - 1u) << 22;
		regs[REG_ECX] = c->sets - 1;
	}
	add_values(m, LEAF_L2, 0, 0, 1024u << 16 | 8u << 12 | CACHE_LINE, 0);
}

uint32_t soft_xstate_bytes(const struct soft_model *model, uint64_t components)
{
	uint32_t bytes = XSTATE_SSE_BYTES;
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++) {
		const struct soft_component *c = &model->component[i];
		if ((components >> i & 1) != 0 && (uint32_t)c->at + c->len > bytes)
			bytes = (uint32_t)c->at + c->len;
	}
	return bytes;
}

static void add_component(struct soft_model *m, unsigned number)
{
	uint32_t host[REGS_CPUID];
	__cpuid_count(LEAF_XSTATE, number, host[0], host[1], host[2], host[3]);
	uint32_t *regs = add(m, LEAF_XSTATE, number, true);
	regs[REG_EAX] = host[REG_EAX];
	regs[REG_EBX] = host[REG_EBX];
	m->component[number] = (struct soft_component){
		.at = (uint16_t)host[REG_EBX],
		.len = (uint16_t)host[REG_EAX],
	};
}

static void add_xstate(struct soft_model *m)
{
	if ((m->cr4 & CR4_OSXSAVE) == 0)
		return;
	for (unsigned i = SOFT_COMPONENT_FIRST; i < SOFT_COMPONENTS; i++)
		if ((m->xcr0 >> i & 1) != 0)
			add_component(m, i);
	uint32_t *regs = add(m, LEAF_XSTATE, 0, true);
	regs[REG_EAX] = (uint32_t)m->xcr0;
	regs[REG_ECX] = soft_xstate_bytes(m, m->xcr0);
	regs = add(m, LEAF_XSTATE, 1, true);
	uint32_t host[REGS_CPUID];
	__cpuid_count(LEAF_XSTATE, 1, host[0], host[1], host[2], host[3]);
	regs[REG_EAX] = host[REG_EAX] & XSAVEOPT;
}

void soft_model_init(struct soft_model *model, unsigned cpus)
{
	*model = (struct soft_model){ .cpus = cpus, .mxcsr_mask = host_mxcsr_mask() };
	add_vendor(model);
	add_features(model);
	add_topology(model);
	add_caches(model);
	add_xstate(model);
	static const char kvm[12] = "KVMKVMKVM";
	uint32_t *regs = add(model, LEAF_KVM, 0, false);
	regs[REG_EAX] = LEAF_KVM_FEATURES;
	memcpy(&regs[REG_EBX], kvm, sizeof(kvm));
	add_values(model, LEAF_KVM_FEATURES, KVM_NOP_IO_DELAY | KVM_CLOCKSOURCE2 | KVM_CLOCK_STABLE,
		0, 0, 0);
	/* AMD repeats the old features, but for SEP and the end. */
	const uint32_t repeated = 0x0183f3ff;
	if (model->is_amd)
		regs_of(model, LEAF_EXTENDED_FEATURES)[REG_EDX] |=
			regs_of(model, LEAF_FEATURES)[REG_EDX] & repeated;
}

/* ---- asked ---- */

void soft_cpuid(const struct soft_vcpu *v, uint32_t leaf, uint32_t subleaf,
	uint32_t regs[REGS_CPUID])
{
	const struct soft_model *m = &v->machine->model;
	memset(regs, 0, REGS_CPUID * sizeof(*regs));
	for (unsigned i = 0; i < m->leaves; i++) {
		const struct soft_leaf *l = &m->leaf[i];
		if (l->leaf == leaf && (l->subleaf == subleaf || !l->is_indexed))
			memcpy(regs, l->regs, sizeof(l->regs));
	}
	switch (leaf) {
	case LEAF_FEATURES:
		regs[REG_EBX] |= v->index << 24;
		regs[REG_ECX] |= (v->cr4 & CR4_OSXSAVE) != 0 ? ECX_OSXSAVE : 0;
		break;
	case LEAF_TOPOLOGY:
		/* Of levels that there are not, too. */
		regs[REG_ECX] |= subleaf & 0xff;
		regs[REG_EDX] = v->index;
		break;
	case LEAF_XSTATE:
		if (subleaf == 0 && (m->cr4 & CR4_OSXSAVE) != 0)
			regs[REG_EBX] = soft_xstate_bytes(m, v->xcr0);
		break;
	default: break;
	}
}

bool soft_model_has(const struct soft_model *model, uint32_t leaf, unsigned reg, unsigned bit)
{
	for (unsigned i = 0; i < model->leaves; i++)
		if (model->leaf[i].leaf == leaf && model->leaf[i].subleaf == 0)
			return ((model->leaf[i].regs[reg] >> bit) & 1) != 0;
	return false;
}

uint64_t soft_cr4_known(const struct soft_vcpu *v)
{
	return v->machine->model.cr4;
}
