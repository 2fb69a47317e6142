/* kvm_accel - one machine on /dev/kvm: memory slots, interrupt controllers, event descriptors.
 *
 * Order matters for speed: a memory slot costs 0.4 ms before KVM_CREATE_IRQCHIP and 5.9 ms after it
 * (measured on one host: each change then waits for a grace period), so the controllers are made by
 * the first call that needs them.  They are complete: two PICs, an IOAPIC, a PIT, and a local APIC
 * in every vCPU.
 *
 * Interrupt routes are one table that KVM takes as a whole.  It starts with the pins, wired as KVM
 * does by default; a message's route is found by its number and replaced in place. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "base/mem.h"
#include "cpu/kvm/kvm.h"

/* Three pages and one page that Intel's real-mode emulation wants, below the firmware's top. */
#define TSS_ADDRESS 0xfffbd000u
#define IDENTITY_MAP_ADDRESS UINT64_C(0xfffbc000)

enum { IOAPIC_PINS = 24, PIC_PINS = 16 };

static const struct {
	int number;
	const char *name;
} needed[] = {
	{ KVM_CAP_IRQCHIP, "an interrupt controller" },
	{ KVM_CAP_PIT2, "a timer (PIT)" },
	{ KVM_CAP_USER_MEMORY, "user memory" },
	{ KVM_CAP_EXT_CPUID, "KVM_GET_SUPPORTED_CPUID" },
	{ KVM_CAP_MP_STATE, "states of processors" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IOEVENTFD_NO_LENGTH, "ioeventfd of any length" },
	{ KVM_CAP_IRQ_ROUTING, "interrupt routing" },
	{ KVM_CAP_SIGNAL_MSI, "message-signalled interrupts" },
	{ KVM_CAP_READONLY_MEM, "read-only memory" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "the TSC deadline timer" },
};

static int open_device(int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return err_set(err, ERR_UNSUPPORTED,
			"there is no /dev/kvm: load kvm-intel or kvm-amd, or switch on "
			"virtualization in the firmware or in the machine around this one");
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return err_set(err, ERR_DENIED,
			"/dev/kvm may not be opened: be root or a member of its group");
	if (fd < 0)
		return err_sys(err, errno, "open /dev/kvm");
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(err, ERR_UNSUPPORTED, "/dev/kvm speaks version %d, not %d", version,
			KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].number) <= 0)
			return err_set(err, ERR_UNSUPPORTED, "/dev/kvm has no %s", needed[i].name);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static struct kvm_machine *of(struct cpu_machine *machine)
{
	return (struct kvm_machine *)machine;
}

/* ---- interrupt controllers and routes ---- */

static void add_pin(struct kvm_irq_routing *routing, unsigned gsi, unsigned chip, unsigned pin)
{
	routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static struct kvm_irq_routing *routing_new(void)
{
	enum { ENTRIES = PIC_PINS + CPU_ROUTES_MAX };
	struct kvm_irq_routing *routing =
		mem_new(1, sizeof(*routing) + ENTRIES * sizeof(struct kvm_irq_routing_entry));
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		add_pin(routing, pin, KVM_IRQCHIP_IOAPIC, pin);
		if (pin < PIC_PINS)
			add_pin(routing, pin,
				pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin % 8);
	}
	return routing;
}

static int make_irqchip(struct kvm_machine *machine, struct err *err)
{
	/* The dummy speaker answers port 0x61, which Linux reads to calibrate its clock. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	if (ioctl(machine->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(err, errno, "kvm: make the interrupt controllers");
	if (ioctl(machine->fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_sys(err, errno, "kvm: make the timer");
	machine->has_irqchip = true;
	return 0;
}

int kvm_machine_need_irqchip(struct kvm_machine *machine, struct err *err)
{
	(void)pthread_mutex_lock(&machine->lock);
	int r = machine->has_irqchip ? 0 : make_irqchip(machine, err);
	(void)pthread_mutex_unlock(&machine->lock);
	return r;
}

static void set_message(struct kvm_irq_routing *routing, unsigned gsi, uint64_t address,
	uint32_t data)
{
	struct kvm_irq_routing_entry entry = {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)address,
			.address_hi = (uint32_t)(address >> 32),
			.data = data },
	};
	unsigned i = IOAPIC_PINS + PIC_PINS;
	while (i < routing->nr && routing->entries[i].gsi != gsi)
		i++;
	if (i == routing->nr)
		routing->nr++;
	routing->entries[i] = entry;
}

/* The first time a route is set: its event, which KVM turns into the message (irqfd). */
static int make_event(struct kvm_machine *machine, unsigned gsi, struct err *err)
{
	if (machine->event[gsi] >= 0)
		return 0;
	AUTO_CLOSE int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return err_sys(err, errno, "make an event descriptor for an interrupt");
	struct kvm_irqfd request = { .fd = (uint32_t)fd, .gsi = gsi };
	if (ioctl(machine->fd, KVM_IRQFD, &request) < 0)
		return err_sys(err, errno, "kvm: attach an event to interrupt %u", gsi);
	machine->event[gsi] = TAKE_FD(fd);
	return 0;
}

static int route_msi(struct cpu_machine *base, unsigned gsi, uint64_t address, uint32_t data,
	struct err *err)
{
	struct kvm_machine *machine = of(base);
	if (gsi < CPU_ROUTES_FIRST || gsi >= CPU_ROUTES_MAX)
		return err_set(err, ERR_INVALID, "no message has the route %u", gsi);
	int r = kvm_machine_need_irqchip(machine, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&machine->lock);
	set_message(machine->routing, gsi, address, data);
	if (ioctl(machine->fd, KVM_SET_GSI_ROUTING, machine->routing) < 0)
		r = err_sys(err, errno, "kvm: route interrupt %u", gsi);
	if (r == 0)
		r = make_event(machine, gsi, err);
	(void)pthread_mutex_unlock(&machine->lock);
	return r;
}

static void interrupt(struct cpu_machine *base, unsigned gsi)
{
	/* It fails only when 2^64 messages wait. */
	(void)eventfd_write(of(base)->event[gsi], 1);
}

static int irq_line(struct cpu_machine *base, unsigned pin, bool level, struct err *err)
{
	struct kvm_irq_level line = { .irq = pin, .level = level };
	if (pin >= IOAPIC_PINS)
		return err_set(err, ERR_INVALID, "no interrupt pin %u", pin);
	int r = kvm_machine_need_irqchip(of(base), err);
	if (r == 0 && ioctl(of(base)->fd, KVM_IRQ_LINE, &line) < 0)
		r = err_sys(err, errno, "kvm: set interrupt pin %u", pin);
	return r;
}

/* ---- the machine ---- */

static void machine_free(struct cpu_machine *base)
{
	struct kvm_machine *machine = of(base);
	for (unsigned gsi = 0; gsi < CPU_ROUTES_MAX; gsi++) {
		if (machine->event[gsi] >= 0)
			(void)close(machine->event[gsi]);
	}
	if (machine->fd >= 0)
		(void)close(machine->fd);
	if (machine->device >= 0)
		(void)close(machine->device);
	(void)pthread_mutex_destroy(&machine->lock);
	free(machine->routing);
	free(machine->cpuid);
	free(machine);
}

/* SA_RESTART is left out on purpose: what a vCPU thread blocks in shall return. */
static void ignore_kick(int signal_number)
{
	(void)signal_number;
}

static int catch_kicks(struct err *err)
{
	const struct sigaction action = { .sa_handler = ignore_kick };
	if (sigaction(KVM_KICK_SIGNAL, &action, NULL) < 0)
		return err_sys(err, errno, "kvm: catch the signal of a kick");
	return 0;
}

static int make_vm(struct kvm_machine *machine, struct err *err)
{
	uint64_t identity_map = IDENTITY_MAP_ADDRESS;
	int most = ioctl(machine->device, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (machine->cpus == 0 || machine->cpus > KVM_VCPUS_MAX || (int)machine->cpus > most)
		return err_set(err, ERR_LIMIT, "%u CPUs: a machine has 1 to %d here", machine->cpus,
			most < KVM_VCPUS_MAX ? most : KVM_VCPUS_MAX);
	int run_size = ioctl(machine->device, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (run_size < (int)sizeof(struct kvm_run))
		return err_set(err, ERR_UNSUPPORTED, "kvm: a vCPU's page of %d bytes", run_size);
	machine->run_size = (size_t)run_size;
	do {
		machine->fd = ioctl(machine->device, KVM_CREATE_VM, 0);
	} while (machine->fd < 0 && errno == EINTR);
	if (machine->fd < 0)
		return err_sys(err, errno, "kvm: make a virtual machine");
	/* Only old Intel processors use these; where they are not known they are not needed. */
	if (ioctl(machine->fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDRESS) < 0 ||
		ioctl(machine->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		return err_sys(err, errno, "kvm: place the real-mode pages");
	return kvm_cpuid_read(machine->device, &machine->cpuid, err);
}

static int machine_new(int take_fd, unsigned cpus, const struct cpu_bus *bus,
	struct cpu_machine **ret_machine, struct err *err)
{
	struct kvm_machine *machine = NEW(kvm_machine);
	machine->base = (struct cpu_machine){ .accel = &kvm_accel, .bus = *bus };
	machine->device = take_fd;
	machine->fd = -1;
	machine->cpus = cpus;
	machine->routing = routing_new();
	memset(machine->event, -1, sizeof(machine->event));
	(void)pthread_mutex_init(&machine->lock, NULL);
	int r = catch_kicks(err);
	if (r == 0)
		r = make_vm(machine, err);
	if (r < 0) {
		machine_free(&machine->base);
		return r;
	}
	*ret_machine = &machine->base;
	return 0;
}

static int machine_map(struct cpu_machine *base, const struct cpu_memory *memory, struct err *err)
{
	struct kvm_machine *machine = of(base);
	(void)pthread_mutex_lock(&machine->lock);
	struct kvm_userspace_memory_region region = {
		.slot = machine->slots,
		.flags = memory->is_read_only ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = memory->gpa,
		.memory_size = memory->size,
		.userspace_addr = (uintptr_t)memory->host,
	};
	int r = ioctl(machine->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
	if (r == 0)
		machine->slots++;
	(void)pthread_mutex_unlock(&machine->lock);
	return r < 0 ? err_sys(err, -r, "kvm: map %ju bytes at %#jx", (uintmax_t)memory->size,
			       (uintmax_t)memory->gpa)
		     : 0;
}

static int ioeventfd(struct cpu_machine *base, int fd, uint64_t address, unsigned len, bool is_pio,
	bool add, struct err *err)
{
	struct kvm_ioeventfd request = {
		.addr = address,
		.len = len,
		.fd = fd,
		.flags = (add ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN) |
			 (is_pio ? KVM_IOEVENTFD_FLAG_PIO : 0u),
	};
	if (ioctl(of(base)->fd, KVM_IOEVENTFD, &request) < 0)
		return err_sys(err, errno, "kvm: %s an event to address %#jx",
			add ? "attach" : "detach", (uintmax_t)address);
	return 0;
}

const struct cpu_accel kvm_accel = {
	.name = "kvm",
	.is_hardware = true,
	.kernel_parameters = "",
	.probe = kvm_probe,
	.open = open_device,
	.machine_new = machine_new,
	.machine_free = machine_free,
	.machine_map = machine_map,
	.machine_ioeventfd = ioeventfd,
	.machine_route_msi = route_msi,
	.machine_interrupt = interrupt,
	.machine_irq_line = irq_line,
	.vcpu_new = kvm_vcpu_new,
	.vcpu_free = kvm_vcpu_free,
	.vcpu_set_state = kvm_vcpu_set_state,
	.vcpu_get_state = kvm_vcpu_get_state,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
};
