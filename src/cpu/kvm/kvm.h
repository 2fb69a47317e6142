/* kvm - the accelerator on /dev/kvm (Documentation/virt/kvm/api.rst): what its files share. */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "cpu/accel.h"

/* The signal that brings a vCPU thread out of KVM_RUN; its handler does nothing. */
#define KVM_KICK_SIGNAL (SIGRTMIN + 1)
#define KVM_CPUID_MAX 256
#define KVM_VCPUS_MAX 254 /* 8-bit APIC ids in the MADT; 255 is broadcast */

struct kvm_machine {
	struct cpu_machine base;
	int device; /* owned: /dev/kvm */
	int fd;     /* owned: the virtual machine */
	unsigned cpus;
	size_t run_size;          /* bytes of a vCPU's shared page(s) */
	struct kvm_cpuid2 *cpuid; /* owned: what vCPUs show, but for what names one of them */

	pthread_mutex_t lock; /* guards all below */
	unsigned slots;       /* memory slots in use */
	bool has_irqchip;
	struct kvm_irq_routing *routing; /* owned: pins first, then messages */
	/* Owned eventfds: what is written to one sends that route's message; -1: not yet.  Set
	 * once, under the lock, before anybody sends. */
	int event[CPU_ROUTES_MAX];
};

/* The interrupt controllers come with the first thing that needs them: KVM adds memory slots far
 * more slowly once they are there. */
MUST_CHECK int kvm_machine_need_irqchip(struct kvm_machine *machine, struct err *err);

/* Supported leaves, without what a guest of ours shall not see. */
MUST_CHECK int kvm_cpuid_read(int device, struct kvm_cpuid2 **ret_cpuid, struct err *err);
/* Fills in what differs between the vCPUs of one machine. */
void kvm_cpuid_set_vcpu(struct kvm_cpuid2 *cpuid, unsigned index, unsigned cpus);

/* The verbs of kvm_accel that are not in its own file. */
int kvm_vcpu_new(struct cpu_machine *machine, unsigned index, struct cpu_vcpu **ret_vcpu,
	struct err *err);
void kvm_vcpu_free(struct cpu_vcpu *vcpu);
int kvm_vcpu_set_state(struct cpu_vcpu *vcpu, const struct cpu_state *state, struct err *err);
int kvm_vcpu_get_state(struct cpu_vcpu *vcpu, struct cpu_state *ret_state, struct err *err);
int kvm_vcpu_run(struct cpu_vcpu *vcpu, enum cpu_exit *ret_exit, struct err *err);
void kvm_vcpu_kick(struct cpu_vcpu *vcpu);
bool kvm_probe(struct text *why_not);
