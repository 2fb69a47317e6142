#include "test.h"

#include "base/mem.h"
#include "cpu/kvm/kvm.h"

/* Some leaves, as a host would report them. */
static struct kvm_cpuid2 *leaves(void)
{
	static const struct kvm_cpuid_entry2 host[] = {
		{ .function = 1, .ebx = 0x0d100800, .ecx = 1u << 31, .edx = 1u << 28 },
		{ .function = 4, .index = 0, .eax = 0xfc004121 },
		{ .function = 4, .index = 3, .eax = 0xfc1fc163 },
		{ .function = 4, .index = 4, .eax = 0 },
		{ .function = 0xb, .index = 0 },
		{ .function = 0xb, .index = 1 },
		{ .function = 0xb, .index = 2 },
		{ .function = 0x80000008, .eax = 0x3030, .ecx = 0x7007 },
		{ .function = 0x8000001e, .eax = 7, .ebx = 0x103, .ecx = 0x201 },
	};
	struct kvm_cpuid2 *cpuid = mem_new(1, sizeof(*cpuid) + sizeof(host));
	cpuid->nent = ARRAY_LEN(host);
	memcpy(cpuid->entries, host, sizeof(host));
	return cpuid;
}

static const struct kvm_cpuid_entry2 *leaf(const struct kvm_cpuid2 *cpuid, uint32_t function,
	uint32_t index)
{
	for (unsigned i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	fail_msg("no leaf %#x.%u", function, index);
	abort(); /* fail_msg() does not come back, which the compiler cannot know */
}

static void each_vcpu_has_its_own_id_in_one_package(void **state)
{
	(void)state;
	AUTO_FREE struct kvm_cpuid2 *cpuid = leaves();
	kvm_cpuid_set_vcpu(cpuid, 2, 3);
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0x02030800);
	assert_int_equal(leaf(cpuid, 1, 0)->edx, 1u << 28);
	assert_int_equal(leaf(cpuid, 0xb, 0)->edx, 2);
	assert_int_equal(leaf(cpuid, 0xb, 0)->ebx, 1);
	assert_int_equal(leaf(cpuid, 0xb, 0)->ecx, 0x100);
	assert_int_equal(leaf(cpuid, 0xb, 1)->eax, 2);
	assert_int_equal(leaf(cpuid, 0xb, 1)->ebx, 3);
	assert_int_equal(leaf(cpuid, 0xb, 1)->ecx, 0x201);
	assert_int_equal(leaf(cpuid, 0xb, 2)->ecx, 2);
	assert_int_equal(leaf(cpuid, 0x80000008, 0)->ecx, 0x2002);
	assert_int_equal(leaf(cpuid, 0x80000008, 0)->eax, 0x3030);
	assert_int_equal(leaf(cpuid, 0x8000001e, 0)->eax, 2);
	assert_int_equal(leaf(cpuid, 0x8000001e, 0)->ebx, 2);
}

static void a_single_vcpu_shows_no_threads(void **state)
{
	(void)state;
	AUTO_FREE struct kvm_cpuid2 *cpuid = leaves();
	kvm_cpuid_set_vcpu(cpuid, 0, 1);
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0x00010800);
	assert_int_equal(leaf(cpuid, 1, 0)->edx, 0);
	assert_int_equal(leaf(cpuid, 0xb, 1)->eax, 0);
}

static void the_last_level_cache_is_shared_and_the_others_are_not(void **state)
{
	(void)state;
	AUTO_FREE struct kvm_cpuid2 *cpuid = leaves();
	kvm_cpuid_set_vcpu(cpuid, 0, 4);
	assert_int_equal(leaf(cpuid, 4, 0)->eax, 0x0121 | 3u << 26);
	assert_int_equal(leaf(cpuid, 4, 3)->eax, 0x0163 | 3u << 14 | 3u << 26);
	assert_int_equal(leaf(cpuid, 4, 4)->eax, 0);
}

static void the_largest_machine_fits_its_fields(void **state)
{
	(void)state;
	AUTO_FREE struct kvm_cpuid2 *cpuid = leaves();
	kvm_cpuid_set_vcpu(cpuid, KVM_VCPUS_MAX - 1, KVM_VCPUS_MAX);
	assert_int_equal(leaf(cpuid, 1, 0)->ebx, 0xfdfe0800);
	assert_int_equal(leaf(cpuid, 0x80000008, 0)->ecx, 0x80fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_vcpu_has_its_own_id_in_one_package),
		cmocka_unit_test(a_single_vcpu_shows_no_threads),
		cmocka_unit_test(the_last_level_cache_is_shared_and_the_others_are_not),
		cmocka_unit_test(the_largest_machine_fits_its_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
