/* kvm_cpuid - what processor a guest sees: all that KVM supports here, but for
 *
 *   nested virtualization (VMX, SVM) and performance counters, which only widen what a guest may
 *   attack in the host's kernel;
 *   the host's own topology: a guest has one package of `cpus` cores with one thread each, so that
 *   its scheduler does not build on what is not there;
 *   frequencies and leaves that are the host's (0x15, 0x16 are wrong once the guest moves).
 *
 * KVM's signature and features (0x40000000) stay: they bring the guest its clock.  Bits and leaves
 * as in the Intel SDM volume 2 (CPUID) and the AMD APM volume 3, appendix E. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/mem.h"
#include "cpu/kvm/kvm.h"

enum {
	LEAF_FEATURES = 1,
	LEAF_CACHES = 4,
	LEAF_PERFORMANCE = 0xa,
	LEAF_TOPOLOGY = 0xb,
	LEAF_TSC_RATIO = 0x15,
	LEAF_FREQUENCY = 0x16,
	LEAF_TOPOLOGY_V2 = 0x1f
};
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_SIZES 0x80000008u
#define LEAF_AMD_SVM 0x8000000au
#define LEAF_AMD_CACHES 0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu
#define LEAF_AMD_PERFORMANCE 0x80000022u

#define ECX_VMX (1u << 5)
#define ECX_X2APIC (1u << 21)
#define ECX_TSC_DEADLINE (1u << 24)
#define ECX_HYPERVISOR (1u << 31)
#define EDX_HTT (1u << 28)
#define AMD_ECX_LEGACY_CMP (1u << 1)
#define AMD_ECX_SVM (1u << 2)
#define AMD_ECX_PERFCTR_CORE (1u << 23)

/* Bits that an APIC id needs for this many cores. */
static unsigned id_bits(unsigned cpus)
{
	unsigned bits = 0;
	while ((1u << bits) < cpus)
		bits++;
	return bits;
}

static bool is_dropped(const struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case LEAF_PERFORMANCE:
	case LEAF_TOPOLOGY: /* made anew, below */
	case LEAF_TSC_RATIO:
	case LEAF_FREQUENCY:
	case LEAF_TOPOLOGY_V2:
	case LEAF_AMD_SVM:
	case LEAF_AMD_PERFORMANCE: return true;
	default: return false;
	}
}

static void filter(struct kvm_cpuid2 *cpuid)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		if (is_dropped(entry))
			continue;
		if (entry->function == LEAF_FEATURES) {
			entry->ecx &= ~ECX_VMX;
			entry->ecx |= ECX_X2APIC | ECX_TSC_DEADLINE | ECX_HYPERVISOR;
		}
		if (entry->function == LEAF_AMD_FEATURES)
			entry->ecx &= ~(AMD_ECX_SVM | AMD_ECX_PERFCTR_CORE);
		cpuid->entries[kept++] = *entry;
	}
	/* Threads, cores, end: filled in for each vCPU. */
	for (unsigned level = 0; level < 3; level++)
		cpuid->entries[kept++] = (struct kvm_cpuid_entry2){
			.function = LEAF_TOPOLOGY,
			.index = level,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
	cpuid->nent = kept;
}

int kvm_cpuid_read(int device, struct kvm_cpuid2 **ret_cpuid, struct err *err)
{
	enum { ADDED = 3 };
	AUTO_FREE struct kvm_cpuid2 *cpuid = mem_new(1,
		sizeof(*cpuid) + (KVM_CPUID_MAX + ADDED) * sizeof(struct kvm_cpuid_entry2));
	cpuid->nent = KVM_CPUID_MAX;
	if (ioctl(device, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		return err_sys(err, errno, "kvm: ask which processor features there are");
	filter(cpuid);
	*ret_cpuid = TAKE(cpuid);
	return 0;
}

static void set_features(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned cpus)
{
	entry->ebx = (entry->ebx & 0x0000ffff) | (index << 24) | (cpus << 16);
	entry->edx = cpus > 1 ? entry->edx | EDX_HTT : entry->edx & ~EDX_HTT;
}

/* How many share a cache: the last level (3) all, the others one. */
static uint32_t sharing(uint32_t eax, unsigned cpus)
{
	unsigned level = (eax >> 5) & 7;
	return level >= 3 ? (1u << id_bits(cpus)) - 1 : 0;
}

static void set_topology(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned cpus)
{
	enum { THREADS = 1 << 8, CORES = 2 << 8 };
	entry->eax = entry->index == 1 ? id_bits(cpus) : 0;
	entry->ebx = entry->index == 0 ? 1 : entry->index == 1 ? cpus : 0;
	entry->ecx = entry->index | (entry->index == 0 ? THREADS : entry->index == 1 ? CORES : 0);
	entry->edx = index;
}

void kvm_cpuid_set_vcpu(struct kvm_cpuid2 *cpuid, unsigned index, unsigned cpus)
{
	for (unsigned i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		switch (entry->function) {
		case LEAF_FEATURES: set_features(entry, index, cpus); break;
		case LEAF_CACHES:
			if ((entry->eax & 0x1f) != 0)
				entry->eax = (entry->eax & 0x3fff) |
					     (sharing(entry->eax, cpus) << 14) |
					     (((1u << id_bits(cpus)) - 1) << 26);
			break;
		case LEAF_TOPOLOGY: set_topology(entry, index, cpus); break;
		case LEAF_AMD_FEATURES:
			if (cpus == 1)
				entry->ecx &= ~AMD_ECX_LEGACY_CMP;
			break;
		case LEAF_AMD_SIZES:
			entry->ecx = (entry->ecx & ~0xf0ffu) | (cpus - 1) | (id_bits(cpus) << 12);
			break;
		case LEAF_AMD_CACHES:
			if ((entry->eax & 0x1f) != 0)
				entry->eax =
					(entry->eax & 0x3fff) | (sharing(entry->eax, cpus) << 14);
			break;
		case LEAF_AMD_TOPOLOGY:
			entry->eax = index;
			entry->ebx = index & 0xff; /* one thread a core */
			entry->ecx = 0;
			break;
		default: break;
		}
	}
}
