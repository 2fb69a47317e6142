/* kvm_vcpu - one virtual processor: its state, and the loop's one step.
 *
 * A kick from another thread sets immediate_exit in the shared page and then sends a signal: if the
 * signal comes before KVM_RUN, KVM sees the flag; if it comes inside, KVM_RUN ends with EINTR.  The
 * vCPU's thread clears the flag when it has seen it, so that no kick is lost.
 *
 * What the guest was reading lies in the shared page, where the bus fills it in, and is handed to
 * KVM by the next KVM_RUN. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "cpu/kvm/kvm.h"

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1
#define APIC_LINT0 0x350
#define APIC_LINT1 0x360
#define APIC_MODE_NMI (4u << 8)
#define APIC_MODE_EXTINT (7u << 8)

struct kvm_vcpu {
	struct cpu_vcpu base;
	const struct kvm_machine *machine; /* borrowed */
	unsigned index;
	int fd;              /* owned */
	struct kvm_run *run; /* owned mapping, shared with the kernel */
	size_t run_size;
	pid_t pid, tid; /* of the thread that runs it: where kicks go */
};

static struct kvm_vcpu *of(struct cpu_vcpu *vcpu)
{
	return (struct kvm_vcpu *)vcpu;
}

void kvm_vcpu_free(struct cpu_vcpu *base)
{
	struct kvm_vcpu *vcpu = of(base);
	if (vcpu->run != NULL)
		(void)munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		(void)close(vcpu->fd);
	free(vcpu);
}

static int set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_machine *machine, struct err *err)
{
	size_t size =
		sizeof(struct kvm_cpuid2) + machine->cpuid->nent * sizeof(struct kvm_cpuid_entry2);
	AUTO_FREE struct kvm_cpuid2 *cpuid = mem_new(1, size);
	memcpy(cpuid, machine->cpuid, size);
	kvm_cpuid_set_vcpu(cpuid, vcpu->index, machine->cpus);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		return err_sys(err, errno, "kvm: set the processor's features");
	return 0;
}

static int set_msrs(struct kvm_vcpu *vcpu, struct err *err)
{
	const struct kvm_msr_entry entry = { .index = MSR_MISC_ENABLE,
		.data = MISC_ENABLE_FAST_STRING };
	AUTO_FREE struct kvm_msrs *msrs = mem_new(1, sizeof(*msrs) + sizeof(entry));
	msrs->nmsrs = 1;
	msrs->entries[0] = entry;
	if (ioctl(vcpu->fd, KVM_SET_MSRS, msrs) < 0)
		return err_sys(err, errno, "kvm: set the processor's registers");
	return 0;
}

/* As firmware leaves them (MultiProcessor Specification 1.4, 3.6.2): the old controller's interrupt
 * on LINT0, NMI on LINT1. */
static int set_local_interrupts(struct kvm_vcpu *vcpu, struct err *err)
{
	static const struct {
		unsigned offset;
		uint32_t mode;
	} pins[] = { { APIC_LINT0, APIC_MODE_EXTINT }, { APIC_LINT1, APIC_MODE_NMI } };
	struct kvm_lapic_state apic;
	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &apic) < 0)
		return err_sys(err, errno, "kvm: read the local APIC");
	for (size_t i = 0; i < ARRAY_LEN(pins); i++)
		memcpy(apic.regs + pins[i].offset, &pins[i].mode, sizeof(pins[i].mode));
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &apic) < 0)
		return err_sys(err, errno, "kvm: set the local APIC");
	return 0;
}

static int vcpu_setup(struct kvm_vcpu *vcpu, struct kvm_machine *machine, struct err *err)
{
	int r = kvm_machine_need_irqchip(machine, err);
	if (r < 0)
		return r;
	vcpu->fd = ioctl(machine->fd, KVM_CREATE_VCPU, (unsigned long)vcpu->index);
	if (vcpu->fd < 0)
		return err_sys(err, errno, "kvm: make vCPU %u", vcpu->index);
	void *run = mmap(NULL, machine->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return err_sys(err, errno, "kvm: map vCPU %u", vcpu->index);
	vcpu->run = run;
	vcpu->run_size = machine->run_size;
	r = set_cpuid(vcpu, machine, err);
	if (r == 0)
		r = set_msrs(vcpu, err);
	if (r == 0)
		r = set_local_interrupts(vcpu, err);
	return r;
}

int kvm_vcpu_new(struct cpu_machine *machine, unsigned index, struct cpu_vcpu **ret_vcpu,
	struct err *err)
{
	struct kvm_vcpu *vcpu = NEW(kvm_vcpu);
	vcpu->base.accel = machine->accel;
	vcpu->machine = (struct kvm_machine *)machine;
	vcpu->index = index;
	vcpu->fd = -1;
	vcpu->pid = getpid();
	vcpu->tid = gettid();
	int r = vcpu_setup(vcpu, (struct kvm_machine *)machine, err);
	if (r < 0) {
		kvm_vcpu_free(&vcpu->base);
		return r;
	}
	*ret_vcpu = &vcpu->base;
	return 0;
}

/* ---- state ---- */

static struct kvm_segment segment_to_kvm(const struct cpu_segment *s)
{
	unsigned a = s->attributes;
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = a & 15,
		.s = (a >> 4) & 1,
		.dpl = (a >> 5) & 3,
		.present = (a >> 7) & 1,
		.avl = (a >> 8) & 1,
		.l = (a >> 9) & 1,
		.db = (a >> 10) & 1,
		.g = (a >> 11) & 1,
		.unusable = ((a >> 7) & 1) == 0,
	};
}

static struct cpu_segment segment_of_kvm(const struct kvm_segment *s)
{
	unsigned attributes = (s->type & 15u) | (s->s & 1u) << 4 | (s->dpl & 3u) << 5 |
			      (s->present & 1u) << 7 | (s->avl & 1u) << 8 | (s->l & 1u) << 9 |
			      (s->db & 1u) << 10 | (s->g & 1u) << 11;
	return (struct cpu_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.attributes = (uint16_t)(s->unusable ? 0 : attributes),
	};
}

int kvm_vcpu_set_state(struct cpu_vcpu *base, const struct cpu_state *state, struct err *err)
{
	struct kvm_vcpu *vcpu = of(base);
	const struct kvm_regs regs = {
		.rax = state->rax,
		.rbx = state->rbx,
		.rcx = state->rcx,
		.rdx = state->rdx,
		.rsi = state->rsi,
		.rdi = state->rdi,
		.rsp = state->rsp,
		.rbp = state->rbp,
		.r8 = state->r8,
		.r9 = state->r9,
		.r10 = state->r10,
		.r11 = state->r11,
		.r12 = state->r12,
		.r13 = state->r13,
		.r14 = state->r14,
		.r15 = state->r15,
		.rip = state->rip,
		.rflags = state->rflags | 2,
	};
	struct kvm_sregs sregs;
	/* The APIC's base and the like stay as they are. */
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return err_sys(err, errno, "kvm: read vCPU %u", vcpu->index);
	sregs.cs = segment_to_kvm(&state->cs);
	sregs.ds = segment_to_kvm(&state->ds);
	sregs.es = segment_to_kvm(&state->es);
	sregs.fs = segment_to_kvm(&state->fs);
	sregs.gs = segment_to_kvm(&state->gs);
	sregs.ss = segment_to_kvm(&state->ss);
	sregs.tr = segment_to_kvm(&state->tr);
	sregs.ldt = segment_to_kvm(&state->ldt);
	sregs.gdt = (struct kvm_dtable){ .base = state->gdt.base, .limit = state->gdt.limit };
	sregs.idt = (struct kvm_dtable){ .base = state->idt.base, .limit = state->idt.limit };
	sregs.cr0 = state->cr0;
	sregs.cr2 = state->cr2;
	sregs.cr3 = state->cr3;
	sregs.cr4 = state->cr4;
	sregs.efer = state->efer;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(err, errno, "kvm: set vCPU %u", vcpu->index);
	return 0;
}

int kvm_vcpu_get_state(struct cpu_vcpu *base, struct cpu_state *ret_state, struct err *err)
{
	struct kvm_vcpu *vcpu = of(base);
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		return err_sys(err, errno, "kvm: read vCPU %u", vcpu->index);
	*ret_state = (struct cpu_state){
		.rax = regs.rax,
		.rbx = regs.rbx,
		.rcx = regs.rcx,
		.rdx = regs.rdx,
		.rsi = regs.rsi,
		.rdi = regs.rdi,
		.rsp = regs.rsp,
		.rbp = regs.rbp,
		.r8 = regs.r8,
		.r9 = regs.r9,
		.r10 = regs.r10,
		.r11 = regs.r11,
		.r12 = regs.r12,
		.r13 = regs.r13,
		.r14 = regs.r14,
		.r15 = regs.r15,
		.rip = regs.rip,
		.rflags = regs.rflags,
		.cs = segment_of_kvm(&sregs.cs),
		.ds = segment_of_kvm(&sregs.ds),
		.es = segment_of_kvm(&sregs.es),
		.fs = segment_of_kvm(&sregs.fs),
		.gs = segment_of_kvm(&sregs.gs),
		.ss = segment_of_kvm(&sregs.ss),
		.tr = segment_of_kvm(&sregs.tr),
		.ldt = segment_of_kvm(&sregs.ldt),
		.gdt = { .base = sregs.gdt.base, .limit = sregs.gdt.limit },
		.idt = { .base = sregs.idt.base, .limit = sregs.idt.limit },
		.cr0 = sregs.cr0,
		.cr2 = sregs.cr2,
		.cr3 = sregs.cr3,
		.cr4 = sregs.cr4,
		.efer = sregs.efer,
	};
	return 0;
}

/* ---- running ---- */

/* String instructions have several values, one after the other. */
static void access_ports(const struct cpu_bus *bus, struct kvm_run *run)
{
	uint8_t *bytes = (uint8_t *)run + run->io.data_offset;
	for (uint32_t i = 0; i < run->io.count; i++)
		bus->io(bus->context, run->io.port, bytes + (size_t)i * run->io.size, run->io.size,
			run->io.direction == KVM_EXIT_IO_OUT);
}

/* Everything that is not an access. */
static int end_run(const struct kvm_run *run, enum cpu_exit *ret_exit, struct err *err)
{
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_SYSTEM_EVENT: *ret_exit = CPU_EXIT_RESET; return 0;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_HLT: *ret_exit = CPU_EXIT_KICKED; return 0;
	case KVM_EXIT_INTERNAL_ERROR:
		return err_set(err, ERR_UNSUPPORTED,
			"KVM cannot run the guest's code: internal error, suberror %u",
			run->internal.suberror);
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(err, ERR_SYSTEM, "KVM cannot enter the guest: hardware reason %#jx",
			(uintmax_t)run->fail_entry.hardware_entry_failure_reason);
	default:
		return err_set(err, ERR_SYSTEM, "KVM stopped the guest for reason %u",
			run->exit_reason);
	}
}

static void clear_kick(struct kvm_run *run)
{
	__atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

int kvm_vcpu_run(struct cpu_vcpu *base, enum cpu_exit *ret_exit, struct err *err)
{
	struct kvm_vcpu *vcpu = of(base);
	struct kvm_run *run = vcpu->run;
	const struct cpu_bus *bus = &vcpu->machine->base.bus;
	while (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
		if (run->exit_reason == KVM_EXIT_IO)
			access_ports(bus, run);
		else if (run->exit_reason == KVM_EXIT_MMIO)
			bus->mmio(bus->context, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
				run->mmio.is_write);
		else
			return end_run(run, ret_exit, err);
	}
	/* EAGAIN: a vCPU that waits for its INIT was woken. */
	if (errno != EINTR && errno != EAGAIN)
		return err_sys(err, errno, "kvm: run vCPU %u", vcpu->index);
	clear_kick(run);
	*ret_exit = CPU_EXIT_KICKED;
	return 0;
}

void kvm_vcpu_kick(struct cpu_vcpu *base)
{
	struct kvm_vcpu *vcpu = of(base);
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/* It fails only when the thread is gone, and then nothing runs. */
	(void)syscall(SYS_tgkill, vcpu->pid, vcpu->tid, KVM_KICK_SIGNAL);
}
