/* kvm_probe - does KVM really run kernel code here?  Flags do not tell: there are hosts whose KVM
 * interprets ring 0, slowly and without some instructions.  So a guest of eight pages does what
 * each kernel does first: from protected mode it switches on PAE, four levels of paging and long
 * mode, then it runs cmpxchg16b, then a loop of known length.  It reports each stage on a port.
 *
 * The loop is timed by the host up to TRIES times and the first fast one counts, so that a busy
 * host is not taken for a slow processor.  A timer bounds the whole. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cpu/kvm/kvm.h"

enum {
	CODE = 0x1000,
	PML4 = 0x2000,
	PDPT = 0x3000,
	DIRECTORY = 0x4000,
	TABLE = 0x5000,
	OPERAND = 0x6000, /* of cmpxchg16b; initially zero */
	GDT = 0x7000,
	MEMORY = 0x8000,
	PAGE = 0x1000,

	PORT = 0xf4,
	STAGE_LONG_MODE = 1,
	STAGE_EXCHANGED,
	STAGE_LOOPED, /* again and again */
	STAGE_WRONG,  /* cmpxchg16b did something else */

	TRIES = 16,
	/* Of two instructions each.  Interpreters have done 4 million instructions a second,
	 * software emulation of a whole machine 200 million. */
	ITERATIONS = 8192,
	SLOW_NS = 2000000,
	DEADLINE_MS = 1000,
};

/* clang-format off */
__asm__(
	".pushsection .rodata\n"
	".globl kvm_probe_code\n.globl kvm_probe_code_end\n"
	".hidden kvm_probe_code\n.hidden kvm_probe_code_end\n"
	"kvm_probe_code:\n"
	".code32\n"
	"	movl %cr4, %eax\n"
	"	orl $0x20, %eax\n" /* PAE */
	"	movl %eax, %cr4\n"
	"	movl $0x2000, %eax\n" /* PML4 */
	"	movl %eax, %cr3\n"
	"	movl $0xc0000080, %ecx\n" /* EFER.LME */
	"	rdmsr\n"
	"	orl $0x100, %eax\n"
	"	wrmsr\n"
	"	movl %cr0, %eax\n"
	"	orl $0x80000000, %eax\n" /* PG */
	"	movl %eax, %cr0\n"
	"	.byte 0xea\n" /* ljmp to the 64-bit code segment */
	"	.long 0x1000 + (kvm_probe_long - kvm_probe_code)\n"
	"	.word 0x18\n"
	".code64\n"
	"kvm_probe_long:\n"
	"	movb $1, %al\n" /* STAGE_LONG_MODE */
	"	outb %al, $0xf4\n"
	"	xorl %eax, %eax\n"
	"	xorl %edx, %edx\n"
	"	movl $0x1234, %ebx\n"
	"	movl $0x5678, %ecx\n"
	"	movl $0x6000, %edi\n" /* OPERAND */
	"	lock cmpxchg16b (%rdi)\n"
	"	jnz 3f\n"
	"	cmpl $0x5678, 8(%rdi)\n"
	"	jne 3f\n"
	"	movb $2, %al\n" /* STAGE_EXCHANGED */
	"	outb %al, $0xf4\n"
	"1:	movl $8192, %ecx\n" /* ITERATIONS */
	"2:	decl %ecx\n"
	"	jnz 2b\n"
	"	movb $3, %al\n" /* STAGE_LOOPED */
	"	outb %al, $0xf4\n"
	"	jmp 1b\n"
	"3:	movb $4, %al\n" /* STAGE_WRONG */
	"	outb %al, $0xf4\n"
	"	jmp 3b\n"
	"kvm_probe_code_end:\n"
	".popsection\n");
/* clang-format on */
extern const uint8_t kvm_probe_code[], kvm_probe_code_end[];

static void put(uint8_t *memory, unsigned address, uint64_t value)
{
	memcpy(memory + address, &value, sizeof(value));
}

static void fill(uint8_t *memory)
{
	enum { PRESENT_WRITABLE = 3 };
	memcpy(memory + CODE, kvm_probe_code, (size_t)(kvm_probe_code_end - kvm_probe_code));
	put(memory, PML4, PDPT | PRESENT_WRITABLE);
	put(memory, PDPT, DIRECTORY | PRESENT_WRITABLE);
	put(memory, DIRECTORY, TABLE | PRESENT_WRITABLE);
	for (unsigned page = 0; page < MEMORY / PAGE; page++)
		put(memory, TABLE + page * 8, page * PAGE | PRESENT_WRITABLE);
	put(memory, GDT + 0x08, UINT64_C(0x00cf9b000000ffff)); /* 32-bit code */
	put(memory, GDT + 0x10, UINT64_C(0x00cf93000000ffff)); /* data */
	put(memory, GDT + 0x18, UINT64_C(0x00af9b000000ffff)); /* 64-bit code */
}

static int set_start(struct cpu_vcpu *vcpu, struct err *err)
{
	const struct cpu_segment code = { .limit = UINT32_MAX, .selector = 8, .attributes = 0xc9b };
	const struct cpu_segment data = { .limit = UINT32_MAX,
		.selector = 16,
		.attributes = 0xc93 };
	const struct cpu_state state = {
		.rip = CODE,
		.rsp = MEMORY,
		.cs = code,
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.tr = { .limit = 0x67, .attributes = 0x8b },
		.gdt = { .base = GDT, .limit = 0x1f },
		.cr0 = 0x11, /* PE, ET */
	};
	return kvm_vcpu_set_state(vcpu, &state, err);
}

/* What the guest's accesses come to: a stage on the port, and all else is wrong. */
struct report {
	struct cpu_vcpu *vcpu; /* borrowed */
	unsigned stage;        /* 0: none since */
};

static void on_io(void *context, uint16_t port, void *bytes, uint32_t size, bool is_write)
{
	struct report *report = context;
	report->stage = port == PORT && size == 1 && is_write ? *(uint8_t *)bytes : STAGE_WRONG;
	cpu_vcpu_kick(report->vcpu);
}

static void on_mmio(void *context, uint64_t gpa, void *bytes, uint32_t size, bool is_write)
{
	(void)gpa, (void)bytes, (void)size, (void)is_write;
	struct report *report = context;
	report->stage = STAGE_WRONG;
	cpu_vcpu_kick(report->vcpu);
}

/* The next stage that the guest reports, before the deadline. */
static int next_stage(struct report *report, uint64_t deadline_ns, unsigned *ret_stage,
	struct err *err)
{
	report->stage = 0;
	while (report->stage == 0) {
		enum cpu_exit e;
		int r = kvm_vcpu_run(report->vcpu, &e, err);
		if (r < 0)
			return r;
		if (clock_monotonic_ns() >= deadline_ns)
			return err_set(err, ERR_UNSUPPORTED, "the guest hangs");
		if (e == CPU_EXIT_RESET)
			return err_set(err, ERR_UNSUPPORTED, "the guest was shut down");
	}
	if (report->stage == STAGE_WRONG)
		return err_set(err, ERR_UNSUPPORTED, "it computes wrongly");
	*ret_stage = report->stage;
	return 0;
}

static int run_loops(struct report *report, uint64_t deadline_ns, struct err *err)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < TRIES; i++) {
		unsigned stage;
		uint64_t start = clock_monotonic_ns();
		int r = next_stage(report, deadline_ns, &stage, err);
		if (r < 0)
			return err_wrap(err, r, "in a loop");
		uint64_t took = clock_monotonic_ns() - start;
		best = took < best ? took : best;
		if (best < SLOW_NS)
			return 0;
	}
	return err_set(err, ERR_UNSUPPORTED, "it runs %ju million instructions a second",
		(uintmax_t)(UINT64_C(2000) * ITERATIONS / best));
}

static int run_stages(struct report *report, struct err *err)
{
	static const struct {
		unsigned stage;
		const char *what;
	} stages[] = { { STAGE_LONG_MODE, "on the way to long mode" },
		{ STAGE_EXCHANGED, "in cmpxchg16b" } };
	uint64_t deadline_ns = clock_monotonic_ns() + DEADLINE_MS * UINT64_C(1000000);
	int r = set_start(report->vcpu, err);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(stages); i++) {
		unsigned stage = 0;
		r = next_stage(report, deadline_ns, &stage, err);
		if (r == 0 && stage != stages[i].stage)
			r = err_set(err, ERR_UNSUPPORTED, "it computes wrongly");
		if (r < 0)
			return err_wrap(err, r, "%s", stages[i].what);
	}
	return r == 0 ? run_loops(report, deadline_ns, err) : r;
}

/* A timer kicks this thread, in case the guest never comes back. */
static int run_with_timer(struct report *report, struct err *err)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = KVM_KICK_SIGNAL,
		._sigev_un._tid = gettid(),
	};
	/* Again and again: the first may come just before KVM_RUN. */
	const struct timespec period = { .tv_nsec = DEADLINE_MS / 10 * 1000000L };
	const struct itimerspec times = { .it_value = period, .it_interval = period };
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		return err_sys(err, errno, "make a timer");
	int r = timer_settime(timer, 0, &times, NULL) < 0 ? err_sys(err, errno, "set a timer")
							  : run_stages(report, err);
	(void)timer_delete(timer);
	return r;
}

static int try_guest(int take_device, struct err *err)
{
	AUTO(cpu_machine) machine = NULL;
	AUTO(cpu_vcpu) vcpu = NULL;
	struct report report = { 0 };
	const struct cpu_bus bus = { .io = on_io, .mmio = on_mmio, .context = &report };
	void *memory =
		mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		(void)close(take_device);
		return err_sys(err, errno, "map memory");
	}
	fill(memory);
	int r = cpu_machine_new(&kvm_accel, take_device, 1, &bus, &machine, err);
	if (r == 0)
		r = cpu_machine_map(machine,
			&(struct cpu_memory){ .size = MEMORY, .host = memory, .fd = -1 }, err);
	if (r == 0)
		r = cpu_vcpu_new(machine, 0, &vcpu, err);
	report.vcpu = vcpu;
	if (r == 0)
		r = run_with_timer(&report, err);
	cpu_vcpu_free(TAKE(vcpu));
	cpu_machine_free(TAKE(machine));
	(void)munmap(memory, MEMORY);
	return r;
}

bool kvm_probe(struct text *why_not)
{
	struct err err = { 0 };
	int device;
	if (kvm_accel.open(&device, &err) < 0) {
		text_puts(why_not, err.message);
		return false;
	}
	if (try_guest(device, &err) < 0) {
		text_printf(why_not,
			"/dev/kvm is there but does not run a kernel: %s; this needs a processor "
			"with VT-x or AMD-V that its host hands on",
			err.message);
		return false;
	}
	return true;
}
