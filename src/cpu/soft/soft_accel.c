/* soft_accel - the accelerator for hosts without a usable KVM: what cpu.h wants, of the parts
 * beside this file.
 *
 * Everything that needs a system call which the machine's process may not make later - memory for
 * decoded code, the decoder's library, the process that makes stubs - is made with the machine and
 * its processors, before the jail closes. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cpu/soft/interpreter/soft_block.h"
#include "cpu/soft/interpreter/soft_decode.h"
#include "cpu/soft/interpreter/soft_native.h"
#include "cpu/soft/irqchip/irqchip.h"
#include "cpu/soft/soft_alarm.h"
#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_cpuid.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_run.h"
#include "cpu/soft/soft_user.h"

static struct soft_machine *machine_of(struct cpu_machine *machine)
{
	return (struct soft_machine *)machine;
}

static struct soft_vcpu *vcpu_of(struct cpu_vcpu *vcpu)
{
	return (struct soft_vcpu *)vcpu;
}

/* ---- state ---- */

static void set_state(struct soft_vcpu *v, const struct cpu_state *s)
{
	const uint64_t gpr[16] = {
		[RAX] = s->rax,
		[RCX] = s->rcx,
		[RDX] = s->rdx,
		[RBX] = s->rbx,
		[RSP] = s->rsp,
		[RBP] = s->rbp,
		[RSI] = s->rsi,
		[RDI] = s->rdi,
		[R8] = s->r8,
		[R9] = s->r9,
		[R10] = s->r10,
		[R11] = s->r11,
		[R12] = s->r12,
		[R13] = s->r13,
		[R14] = s->r14,
		[R15] = s->r15,
	};
	const struct cpu_segment *const segments[SEGS] = {
		[SEG_ES] = &s->es,
		[SEG_CS] = &s->cs,
		[SEG_SS] = &s->ss,
		[SEG_DS] = &s->ds,
		[SEG_FS] = &s->fs,
		[SEG_GS] = &s->gs,
		[SEG_LDT] = &s->ldt,
		[SEG_TR] = &s->tr,
	};
	memcpy(v->gpr, gpr, sizeof(gpr));
	for (unsigned i = 0; i < SEGS; i++)
		v->seg[i] = *segments[i];
	v->rip = s->rip;
	v->gdt = s->gdt;
	v->idt = s->idt;
	v->cr0 = s->cr0;
	v->cr2 = s->cr2;
	v->cr3 = s->cr3;
	v->cr4 = s->cr4;
	v->efer = s->efer;
	soft_set_flags(v, s->rflags);
	soft_settle(v);
	soft_tlb_flush(v, true);
}

static void get_state(const struct soft_vcpu *v, struct cpu_state *s)
{
	const uint64_t *g = v->gpr;
	*s = (struct cpu_state){
		.rax = g[RAX],
		.rbx = g[RBX],
		.rcx = g[RCX],
		.rdx = g[RDX],
		.rsi = g[RSI],
		.rdi = g[RDI],
		.rsp = g[RSP],
		.rbp = g[RBP],
		.r8 = g[R8],
		.r9 = g[R9],
		.r10 = g[R10],
		.r11 = g[R11],
		.r12 = g[R12],
		.r13 = g[R13],
		.r14 = g[R14],
		.r15 = g[R15],
		.rip = v->rip,
		.rflags = soft_flags(v),
		.cs = v->seg[SEG_CS],
		.ds = v->seg[SEG_DS],
		.es = v->seg[SEG_ES],
		.fs = v->seg[SEG_FS],
		.gs = v->seg[SEG_GS],
		.ss = v->seg[SEG_SS],
		.tr = v->seg[SEG_TR],
		.ldt = v->seg[SEG_LDT],
		.gdt = v->gdt,
		.idt = v->idt,
		.cr0 = v->cr0,
		.cr2 = v->cr2,
		.cr3 = v->cr3,
		.cr4 = v->cr4,
		.efer = v->efer,
	};
}

/* ---- the machine ---- */

enum { IOAPIC_PINS = 24 };

static size_t code_bytes(uint64_t size)
{
	return (size_t)(size / SOFT_PAGE) * sizeof(uint32_t);
}

/* How fast the time stamp counter counts: against the clock, for long enough to be exact to a few
 * parts in a million. */
static uint64_t measure_tsc_khz(void)
{
	enum { NS = 10000000 };
	uint64_t start_ns = clock_monotonic_ns(), start = __rdtsc(), ns;
	do {
		ns = clock_monotonic_ns() - start_ns;
	} while (ns < NS);
	return (__rdtsc() - start) * 1000000 / ns;
}

static void wake(void *context, unsigned index)
{
	struct soft_machine *machine = context;
	struct soft_vcpu *v = atomic_load(&machine->vcpu[index]);
	if (v != NULL)
		soft_attend(v, ATTENTION_EVENT);
}

static void machine_free(struct cpu_machine *base)
{
	struct soft_machine *machine = machine_of(base);
	for (unsigned i = 0; i < machine->ranges; i++)
		(void)munmap(machine->range[i].code, code_bytes(machine->range[i].size));
	irqchip_free(machine->irqchip);
	(void)pthread_mutex_destroy(&machine->lock);
	free(machine);
}

static int machine_new(int take_fd, unsigned cpus, const struct cpu_bus *bus,
	struct cpu_machine **ret_machine, struct err *err)
{
	static const struct irqchip_ops ops = { .wake = wake };
	(void)take_fd;
	if (cpus == 0 || cpus > SOFT_VCPUS_MAX)
		return err_set(err, ERR_LIMIT, "%u CPUs: a machine has 1 to %d here", cpus,
			SOFT_VCPUS_MAX);
	struct soft_machine *machine = NEW(soft_machine);
	machine->base = (struct cpu_machine){ .accel = &soft_accel, .bus = *bus };
	machine->cpus = cpus;
	machine->tsc_khz = measure_tsc_khz();
	(void)pthread_mutex_init(&machine->lock, NULL);
	soft_model_init(&machine->model, cpus);
	machine->irqchip = irqchip_new(cpus, (uint32_t)machine->tsc_khz, &ops, machine);
	*ret_machine = &machine->base;
	return 0;
}

/* A file's number in stubs; one that two ranges show has one. */
static unsigned number_file(struct soft_machine *machine, int fd)
{
	unsigned at = 0;
	while (at < machine->files_len && machine->files[at] != fd)
		at++;
	if (fd < 0 || at == STUB_MEMORIES_MAX)
		return SOFT_NO_MEMORY;
	if (at == machine->files_len)
		machine->files[machine->files_len++] = fd;
	return at;
}

static int machine_map(struct cpu_machine *base, const struct cpu_memory *memory, struct err *err)
{
	struct soft_machine *machine = machine_of(base);
	if (machine->ranges == SOFT_RANGES_MAX)
		return err_set(err, ERR_LIMIT, "a machine has at most %d pieces of memory",
			SOFT_RANGES_MAX);
	void *code = mmap(NULL, code_bytes(memory->size), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (code == MAP_FAILED)
		return err_sys(err, errno, "map a table of %ju pages",
			(uintmax_t)(memory->size / SOFT_PAGE));
	machine->range[machine->ranges++] = (struct soft_range){
		.gpa = memory->gpa,
		.size = memory->size,
		.host = memory->host,
		.read_only = memory->is_read_only,
		.memory = number_file(machine, memory->fd),
		.file_offset = memory->offset,
		.file_size = memory->file_size,
		.code = code,
	};
	return 0;
}

static int ioeventfd(struct cpu_machine *base, int fd, uint64_t address, unsigned len, bool is_pio,
	bool add, struct err *err)
{
	struct soft_machine *machine = machine_of(base);
	const struct soft_event event = { address, len, is_pio, fd };
	int r = 0;
	(void)pthread_mutex_lock(&machine->lock);
	if (add && machine->events == SOFT_EVENTS_MAX)
		r = err_set(err, ERR_LIMIT, "a machine has at most %d events", SOFT_EVENTS_MAX);
	else if (add)
		machine->event[machine->events++] = event;
	for (unsigned i = 0; !add && i < machine->events; i++) {
		const struct soft_event *e = &machine->event[i];
		if (e->fd != fd || e->address != address || e->is_pio != is_pio)
			continue;
		machine->event[i] = machine->event[--machine->events];
		break;
	}
	(void)pthread_mutex_unlock(&machine->lock);
	return r;
}

static int route_msi(struct cpu_machine *base, unsigned gsi, uint64_t address, uint32_t data,
	struct err *err)
{
	struct soft_machine *machine = machine_of(base);
	if (gsi < CPU_ROUTES_FIRST || gsi >= CPU_ROUTES_MAX)
		return err_set(err, ERR_INVALID, "no message has the route %u", gsi);
	atomic_store(&machine->route[gsi].address, address);
	atomic_store(&machine->route[gsi].data, data);
	return 0;
}

static void interrupt(struct cpu_machine *base, unsigned gsi)
{
	struct soft_machine *machine = machine_of(base);
	irqchip_message(machine->irqchip, atomic_load(&machine->route[gsi].address),
		atomic_load(&machine->route[gsi].data));
}

static int irq_line(struct cpu_machine *base, unsigned pin, bool level, struct err *err)
{
	if (pin >= IOAPIC_PINS)
		return err_set(err, ERR_INVALID, "no interrupt pin %u", pin);
	irqchip_line(machine_of(base)->irqchip, pin, level);
	return 0;
}

/* ---- a processor ---- */

/* No thread runs any more that could send it an interrupt. */
static void vcpu_free(struct cpu_vcpu *base)
{
	struct soft_vcpu *v = vcpu_of(base);
	atomic_store(&v->machine->vcpu[v->index], NULL);
	soft_vcpu_done(v);
	free(v);
}

static int vcpu_new(struct cpu_machine *base, unsigned index, struct cpu_vcpu **ret_vcpu,
	struct err *err)
{
	struct soft_machine *machine = machine_of(base);
	struct soft_vcpu *v = NEW(soft_vcpu);
	int r = soft_vcpu_init(v, machine, index, err);
	v->base.accel = base->accel;
	if (r == 0)
		r = soft_alarm_new(v, err);
	if (r == 0)
		r = soft_user_new(v, err);
	if (r < 0) {
		soft_vcpu_done(v);
		free(v);
		return r;
	}
	atomic_store(&machine->vcpu[index], v);
	*ret_vcpu = &v->base;
	return 0;
}

static int vcpu_set_state(struct cpu_vcpu *vcpu, const struct cpu_state *state, struct err *err)
{
	(void)err;
	set_state(vcpu_of(vcpu), state);
	return 0;
}

static int vcpu_get_state(struct cpu_vcpu *vcpu, struct cpu_state *ret_state, struct err *err)
{
	(void)err;
	get_state(vcpu_of(vcpu), ret_state);
	return 0;
}

static int vcpu_run(struct cpu_vcpu *vcpu, enum cpu_exit *ret_exit, struct err *err)
{
	(void)err;
	*ret_exit = soft_run(vcpu_of(vcpu)) == SOFT_SHUTDOWN ? CPU_EXIT_RESET : CPU_EXIT_KICKED;
	return 0;
}

static void vcpu_kick(struct cpu_vcpu *vcpu)
{
	soft_attend(vcpu_of(vcpu), ATTENTION_KICK);
}

/* ---- the accelerator ---- */

/* All that it needs is there, or is the compiler's concern. */
static bool probe(struct text *why_not)
{
	struct err err = { 0 };
	if (soft_decode_load(&err) == 0)
		return true;
	text_puts(why_not, err.message);
	return false;
}

/* No descriptor, but the decoder's library, which is out of reach in the jail. */
static int open_library(int *ret_fd, struct err *err)
{
	int r = soft_decode_load(err);
	if (r == 0)
		r = soft_native_load(err);
	if (r == 0)
		*ret_fd = -1;
	return r;
}

/* Stubs are kept on their vCPU's processor, kicked, looked after and killed; the alarm is set. */
static const int syscalls[] = {
	SYS_getpid,
	SYS_gettid,
	SYS_kill,
	SYS_sched_setaffinity,
	SYS_sched_yield,
	SYS_tgkill,
	SYS_timer_delete,
	SYS_timer_settime,
	SYS_wait4,
	SYS_waitid,
};

const struct cpu_accel soft_accel = {
	.name = "soft",
	.wants_shared_memory = true,
	/* Nothing runs a guest's kernel ahead of itself: it is interpreted. */
	/* Its vDSO calls by SYSENTER, of which a host's kernel has lost the stack where that is not
	 * in place: int $0x80 instead. */
	.kernel_parameters = "mitigations=off vdso32=0",
	.syscalls = syscalls,
	.syscalls_len = ARRAY_LEN(syscalls),
	.probe = probe,
	.open = open_library,
	.machine_new = machine_new,
	.machine_free = machine_free,
	.machine_map = machine_map,
	.machine_ioeventfd = ioeventfd,
	.machine_route_msi = route_msi,
	.machine_interrupt = interrupt,
	.machine_irq_line = irq_line,
	.vcpu_new = vcpu_new,
	.vcpu_free = vcpu_free,
	.vcpu_set_state = vcpu_set_state,
	.vcpu_get_state = vcpu_get_state,
	.vcpu_run = vcpu_run,
	.vcpu_kick = vcpu_kick,
};
