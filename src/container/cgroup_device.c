/* cgroup_device - the device list of a v2 group as a BPF program (BPF_PROG_TYPE_CGROUP_DEVICE).
 *
 * The kernel runs it on every open and mknod with the device's type, numbers and the access asked
 * for.  It is a plain chain: the rules from last to first (a later rule wins, as writes to v1's
 * files do), the first that matches decides, nothing matching is refused.
 *
 *	r2 = type, r3 = access, r4 = major, r5 = minor
 *	per rule:	if type, major or minor differ, or access is not within the rule's: next
 *			r0 = verdict; exit
 *	r0 = 0; exit
 *
 * An allowing rule must cover all of the access asked for; a denying one refuses when any of it is
 * named. */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "container/cgroup_driver.h"
#include "container/container_spec.h"

#define INSNS_PER_RULE_MAX 12
#define INSNS_FRAME 12

struct device_program {
	struct bpf_insn *insns; /* owned */
	size_t len;
};

static void emit(struct device_program *program, struct bpf_insn insn)
{
	program->insns[program->len++] = insn;
}

#define INSN(op, dst, src, offset, immediate) \
	((struct bpf_insn){ .code = (op),     \
		.dst_reg = (dst),             \
		.src_reg = (src),             \
		.off = (offset),              \
		.imm = (immediate) })
#define LOAD_FIELD(dst, field)                          \
	INSN(BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_1, \
		offsetof(struct bpf_cgroup_dev_ctx, field), 0)

static void emit_rule(struct device_program *program, const struct spec_device_rule *rule)
{
	size_t start = program->len;
	/* Jumps to the next rule get their distance when it is known. */
	if (rule->type != 'a')
		emit(program,
			INSN(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
				rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR));
	if (rule->major >= 0)
		emit(program,
			INSN(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)rule->major));
	if (rule->minor >= 0)
		emit(program,
			INSN(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)rule->minor));

	int32_t bits = (rule->access & DEVICE_READ ? BPF_DEVCG_ACC_READ : 0) |
		       (rule->access & DEVICE_WRITE ? BPF_DEVCG_ACC_WRITE : 0) |
		       (rule->access & DEVICE_MKNOD ? BPF_DEVCG_ACC_MKNOD : 0);
	if (rule->access != DEVICE_ALL) {
		emit(program, INSN(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0));
		emit(program, INSN(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0,
				      rule->is_allowed ? ~bits : bits));
		/* Allowing: next if something is left over.  Denying: next if nothing is named. */
		emit(program, INSN(BPF_JMP32 | (rule->is_allowed ? BPF_JNE : BPF_JEQ) | BPF_K,
				      BPF_REG_1, 0, 0, 0));
	}
	emit(program, INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule->is_allowed));
	emit(program, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
	for (size_t i = start; i < program->len; i++)
		if (BPF_CLASS(program->insns[i].code) == BPF_JMP32)
			program->insns[i].off = (int16_t)(program->len - i - 1);
}

static void program_build(const struct container_spec *spec, struct device_program *program)
{
	program->insns =
		NEW_ARRAY(bpf_insn, INSNS_FRAME + spec->device_rules_len * INSNS_PER_RULE_MAX);
	program->len = 0;
	emit(program, LOAD_FIELD(BPF_REG_2, access_type)); /* access << 16 | type */
	emit(program, INSN(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0));
	emit(program, INSN(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff));
	emit(program, INSN(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16));
	emit(program, LOAD_FIELD(BPF_REG_4, major));
	emit(program, LOAD_FIELD(BPF_REG_5, minor));
	for (size_t i = spec->device_rules_len; i-- > 0;) {
		emit_rule(program, &spec->device_rules[i]);
		/* A rule for everything decides for all that stand before it; the verifier
		 * refuses code that cannot be reached. */
		const struct spec_device_rule *rule = &spec->device_rules[i];
		if (rule->type == 'a' && rule->major < 0 && rule->minor < 0 &&
			rule->access == DEVICE_ALL)
			return;
	}
	emit(program, INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0));
	emit(program, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int cgroup_device_attach(int cgroup_fd, const struct container_spec *spec, struct err *err)
{
	if (spec->device_rules_len == 0)
		return 0;
	struct device_program program;
	program_build(spec, &program);
	AUTO_FREE struct bpf_insn *insns = program.insns;

	union bpf_attr load;
	memset(&load, 0, sizeof(load)); /* the kernel checks the padding */
	load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	load.insns = (uintptr_t)insns;
	load.insn_cnt = (uint32_t)program.len;
	load.license = (uintptr_t) "GPL";
	AUTO_CLOSE int fd = bpf(BPF_PROG_LOAD, &load);
	if (fd < 0)
		return err_sys(err, errno, "load the device list as a BPF program");

	union bpf_attr attach;
	memset(&attach, 0, sizeof(attach));
	attach.target_fd = (uint32_t)cgroup_fd;
	attach.attach_bpf_fd = (uint32_t)fd;
	attach.attach_type = BPF_CGROUP_DEVICE;
	attach.attach_flags = BPF_F_ALLOW_MULTI;
	if (bpf(BPF_PROG_ATTACH, &attach) < 0)
		return err_sys(err, errno, "attach the device list to the cgroup");
	return 0;
}
