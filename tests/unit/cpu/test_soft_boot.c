/* Real guest code, from real mode to ring 3 of long mode and back by interrupts, faults and system
 * calls: what only holds if all parts agree. */
#include "soft_world.h"

/* At BOOT; the code's own addresses are relative to boot_code.  It leaves marks in memory at MARKS.
 */
enum { BOOT = 0xa000, MARKS = 0x10000, PAGE_TABLES = 0x1000 };

extern const uint8_t boot_code[], boot_code_end[];
__asm__(".pushsection .rodata\n"
	"boot_code:\n"
	".code16\n"
	/* An interrupt in real mode, whose handler says that it was here. */
	"	xor	%ax, %ax\n"
	"	mov	%ax, %ds\n"
	"	mov	%ax, %ss\n"
	"	mov	$0x9000, %sp\n"
	"	movw	$(0xa000 + real_handler - boot_code), 0x21 * 4\n"
	"	movw	$0, 0x21 * 4 + 2\n"
	"	int	$0x21\n"
	"	lgdtl	(0xa000 + gdtr - boot_code)\n"
	"	mov	%cr0, %eax\n"
	"	or	$1, %al\n"
	"	mov	%eax, %cr0\n"
	"	ljmpl	$8, $(0xa000 + protected - boot_code)\n"
	"real_handler:\n"
	"	incw	0xfff0\n"
	"	iret\n"
	".code32\n"
	"protected:\n"
	"	mov	$16, %eax\n"
	"	mov	%eax, %ds\n"
	"	mov	%eax, %es\n"
	"	mov	%eax, %ss\n"
	"	mov	$0x9000, %esp\n"
	"	movl	$0x11111111, 0x10000\n"
	"	mov	%cr4, %eax\n"
	"	or	$0x20, %eax\n"
	"	mov	%eax, %cr4\n"
	"	mov	$0x1000, %eax\n"
	"	mov	%eax, %cr3\n"
	"	mov	$0xc0000080, %ecx\n"
	"	rdmsr\n"
	"	or	$0x901, %eax\n"
	"	wrmsr\n"
	"	mov	%cr0, %eax\n"
	"	or	$0x80010000, %eax\n"
	"	mov	%eax, %cr0\n"
	"	ljmp	$24, $(0xa000 + long_mode - boot_code)\n"
	".code64\n"
	"long_mode:\n"
	"	mov	$0x2222222222222222, %rax\n"
	"	mov	%rax, 0x10008\n"
	"	lidt	idtr(%rip)\n"
	"	mov	$0x38, %eax\n"
	"	ltr	%ax\n"
	"	mov	$0xc0000081, %ecx\n" /* STAR: ring 3 at 0x20, ring 0 at 0x18 */
	"	xor	%eax, %eax\n"
	"	mov	$0x00200018, %edx\n"
	"	wrmsr\n"
	"	inc	%ecx\n"
	"	lea	system_call(%rip), %rax\n"
	"	xor	%edx, %edx\n"
	"	wrmsr\n"
	"	ud2\n" /* its handler skips it */
	"	mov	%rcx, 0x10010\n"
	/* To ring 3. */
	"	pushq	$0x2b\n"
	"	pushq	$0x30000\n"
	"	pushq	$0x202\n"
	"	pushq	$0x33\n"
	"	lea	user(%rip), %rax\n"
	"	push	%rax\n"
	"	iretq\n"
	"user:\n"
	"	mov	$0x1234, %edi\n"
	"	syscall\n"
	"	mov	%rax, 0x10018\n"
	"	cli\n" /* #GP, whose handler skips it */
	"	int	$0x80\n"
	"	movq	$1, 0x1ff000\n" /* #PF, whose handler maps the page */
	"	mov	$0xffffffff, %edi\n"
	"	syscall\n" /* the end */
	"	ud2\n"
	"system_call:\n"
	"	cmp	$0x1234, %edi\n"
	"	jne	1f\n"
	"	lea	1(%rdi), %rax\n"
	"	sysretq\n"
	"1:	cli\n"
	"	hlt\n"
	"invalid:\n"
	"	incq	0x10020\n"
	"	addq	$2, (%rsp)\n"
	"	iretq\n"
	"protection:\n"
	"	incq	0x10028\n"
	"	pop	%rbx\n"
	"	mov	%rbx, 0x10030\n"
	"	addq	$1, (%rsp)\n"
	"	iretq\n"
	"page_fault:\n"
	"	mov	%cr2, %rbx\n"
	"	mov	%rbx, 0x10038\n"
	"	pop	0x10040\n"
	"	movq	$0x1ff007, 0x4ff8\n"
	"	invlpg	(%rbx)\n"
	"	iretq\n"
	"software:\n"
	"	mov	8(%rsp), %rbx\n"
	"	mov	%rbx, 0x10048\n"
	"	iretq\n"
	".balign 8\n"
	"gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff\n"
	"	.quad	0, 0x00cff3000000ffff, 0x00affb000000ffff, 0x0000890080000067, 0\n"
	"gdtr:	.word	gdtr - gdt - 1\n"
	"	.long	0xa000 + gdt - boot_code\n"
	"idtr:	.word	0xfff\n"
	"	.quad	0x7000\n"
	"handlers:\n"
	"	.word	6, invalid - boot_code, 13, protection - boot_code\n"
	"	.word	14, page_fault - boot_code, 0x80, software - boot_code, 0\n"
	"boot_code_end:\n"
	".popsection");
extern const uint16_t handlers[];

static void put_handlers(void)
{
	for (const uint16_t *h = handlers; h[0] != 0; h += 2) {
		uint64_t at = IDT + h[0] * 16u, handler = BOOT + h[1];
		put(at, handler | 24u << 16 | UINT64_C(0xee) << 40, 8);
		put(at + 8, 0, 8);
	}
}

static uint64_t mark(unsigned n)
{
	return get(MARKS + n * 8, 8);
}

/* As a processor does; false when it shuts down. */
static bool run_until_halted(unsigned blocks)
{
	struct soft_vcpu *v = &world->v;
	while (!v->is_halted && blocks-- > 0)
		if (run_some(SOFT_BLOCK_OPS_MAX + 1) >= 0 && !soft_deliver(v))
			return false;
	return v->is_halted;
}

static void boot(void)
{
	struct soft_vcpu *v = &world->v;
	world_mode(REAL, 0);
	memset(world->ram + IDT, 0, 0x1000);
	memcpy(world->ram + BOOT, boot_code, (size_t)(boot_code_end - boot_code));
	put_handlers();
	put(TSS + 4, KERNEL_STACK, 8);
	v->rip = BOOT;
}

static void code_goes_from_real_mode_to_ring_3_and_its_faults_are_handled(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	boot();
	assert_true(run_until_halted(200));
	assert_int_equal(get(0xfff0, 2), 1);
	assert_int_equal(mark(0), 0x11111111);
	assert_int_equal(mark(1), UINT64_C(0x2222222222222222));
	assert_int_equal(mark(2), 0xc0000082); /* went on behind ud2 */
	assert_int_equal(mark(3), 0x1235);     /* what the system call gave */
	assert_int_equal(mark(4), 1);          /* one #UD */
	assert_int_equal(mark(5), 1);          /* one #GP, of cli */
	assert_int_equal(mark(6), 0);          /* its code */
	assert_int_equal(mark(7), NOWHERE);    /* CR2 */
	assert_int_equal(mark(8), 6);          /* a write by a user to what is not there */
	assert_int_equal(mark(9), 0x33);       /* CS of int 0x80 */
	assert_int_equal(get(NOWHERE, 8), 1);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->seg[SEG_CS].selector, 0x18);
	assert_int_equal(get(BOOT + (uint64_t)((const uint8_t *)handlers - boot_code), 2), 6);
	assert_int_equal(v->seg[SEG_TR].attributes & 0xf, 11);
}

static void without_handlers_it_shuts_down(void **state)
{
	(void)state;
	boot();
	memset(world->ram + IDT, 0, 0x1000);
	assert_false(run_until_halted(200));
	assert_false(world->v.is_halted);
	assert_int_equal(mark(1), UINT64_C(0x2222222222222222));
	assert_int_equal(mark(2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(code_goes_from_real_mode_to_ring_3_and_its_faults_are_handled),
		WORLD_TEST(without_handlers_it_shuts_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
