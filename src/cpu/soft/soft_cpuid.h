/* soft_cpuid - the processor that a guest sees: the model "portable". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { REG_EAX, REG_EBX, REG_ECX, REG_EDX, REGS_CPUID };
enum { SOFT_LEAVES_MAX = 40 };

struct soft_leaf {
	uint32_t leaf, subleaf;
	bool is_indexed; /* there are several subleaves */
	uint32_t regs[REGS_CPUID];
};

/* Components of XSAVE's standard form, by their bits in XCR0, beyond x87 and SSE. */
#define XCR0_X87 (UINT64_C(1) << 0)
#define XCR0_SSE (UINT64_C(1) << 1)
#define XCR0_AVX (UINT64_C(1) << 2)
#define XCR0_OPMASK (UINT64_C(1) << 5)
#define XCR0_ZMM_HIGH (UINT64_C(1) << 6)
#define XCR0_ZMM_MORE (UINT64_C(1) << 7)
#define XCR0_AVX512 (XCR0_OPMASK | XCR0_ZMM_HIGH | XCR0_ZMM_MORE)
enum { SOFT_COMPONENT_FIRST = 2, SOFT_COMPONENTS = 8, SOFT_XSTATE_MAX = 4096 };

/* One machine's, of all its processors; a value. */
struct soft_model {
	bool is_amd;   /* by the host's vendor: ring 3 is the host's */
	uint64_t xcr0; /* what may be set in it */
	uint64_t cr4;  /* likewise */
	uint32_t mxcsr_mask;
	/* Where the components are in it: as on the host, which has filled it in. */
	struct soft_component {
		uint16_t at, len;
	} component[SOFT_COMPONENTS];
	unsigned cpus, leaves;
	struct soft_leaf leaf[SOFT_LEAVES_MAX];
};

void soft_model_init(struct soft_model *model, unsigned cpus);

struct soft_vcpu;
/* What CPUID gives, in ring 0 and, where it faults, in ring 3. */
void soft_cpuid(const struct soft_vcpu *v, uint32_t leaf, uint32_t subleaf,
	uint32_t regs[REGS_CPUID]);
/* Whether it shows that feature. */
bool soft_model_has(const struct soft_model *model, uint32_t leaf, unsigned reg, unsigned bit);
/* Bytes of the state of these components, with what is before them. */
uint32_t soft_xstate_bytes(const struct soft_model *model, uint64_t components);
/* Bits of CR4 that are no reserved ones. */
uint64_t soft_cr4_known(const struct soft_vcpu *v);
