#include "test.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>

#include "pci_driver.h"
#include "vm/virtio/virtio.h"

/* A device that writes down what it is told. */
struct recorder {
	struct text trace;
	struct virtio *virtio;
	uint64_t features;
	bool fails, *ret_freed;
	uint8_t config[8];
};

static uint64_t recorder_features(void *device)
{
	(void)device;
	return 1u << 5;
}

static void recorder_config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	const struct recorder *recorder = device;
	memset(bytes, 0, len);
	if (offset < sizeof(recorder->config) && len <= sizeof(recorder->config) - offset)
		memcpy(bytes, recorder->config + offset, len);
}

static void recorder_config_write(void *device, uint32_t offset, const void *bytes, uint32_t len)
{
	struct recorder *recorder = device;
	if (offset < sizeof(recorder->config) && len <= sizeof(recorder->config) - offset)
		memcpy(recorder->config + offset, bytes, len);
}

static void recorder_activate(void *device, struct virtio *virtio, uint64_t features)
{
	struct recorder *recorder = device;
	recorder->virtio = virtio;
	recorder->features = features;
	text_puts(&recorder->trace, "a");
}

static int recorder_handle(void *device, unsigned queue, struct virtq_chain *chain,
	uint32_t *ret_written)
{
	const struct recorder *recorder = device;
	(void)queue;
	*ret_written = (uint32_t)virtq_copy_out(chain, 0, "done", 4);
	return recorder->fails ? -EPROTO : 0;
}

static void recorder_notify(void *device, unsigned queue)
{
	struct recorder *recorder = device;
	text_printf(&recorder->trace, "%u", queue);
	virtio_serve(recorder->virtio, queue, 4, recorder_handle, recorder);
}

static void recorder_reset(void *device)
{
	struct recorder *recorder = device;
	recorder->virtio = NULL;
	text_puts(&recorder->trace, "r");
}

static void recorder_free(void *device)
{
	struct recorder *recorder = device;
	*recorder->ret_freed = true;
	text_done(&recorder->trace);
	free(recorder);
}

static const struct virtio_ops recorder_ops = {
	.name = "recorder",
	.type = 42,
	.pci_class = 0x05800000,
	.queues = 2,
	.queue_size = 64,
	.features = recorder_features,
	.config_read = recorder_config_read,
	.config_write = recorder_config_write,
	.activate = recorder_activate,
	.notify = recorder_notify,
	.reset = recorder_reset,
	.free = recorder_free,
};

struct fixture {
	struct machine machine;
	struct recorder *device;
	struct pci_driver driver;
	bool is_freed;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_machine_init(&f->machine);
	f->device = calloc(1, sizeof(*f->device));
	f->device->ret_freed = &f->is_freed;
	*state = f;
	if (virtio_new(&f->machine, &recorder_ops, f->device, NULL) < 0)
		return -1;
	pci_driver_find(&f->driver, &f->machine, 1);
	return 0;
}

static int destroy(void **state)
{
	struct fixture *f = *state;
	fake_machine_done(&f->machine);
	bool is_freed = f->is_freed;
	free(f);
	return is_freed ? 0 : -1;
}

static uint64_t get(struct fixture *f, uint64_t offset, uint32_t len)
{
	return pci_driver_get(&f->driver, offset, len);
}

static void set(struct fixture *f, uint64_t offset, uint64_t value, uint32_t len)
{
	pci_driver_set(&f->driver, offset, value, len);
}

static uint64_t status(struct fixture *f)
{
	return get(f, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void a_function_says_what_it_is_and_where(void **state)
{
	struct fixture *f = *state;
	uint64_t config = f->driver.config;
	assert_int_equal(fake_machine_read(&f->machine, config, 4), (0x1040 + 42) << 16 | 0x1af4);
	assert_int_equal(fake_machine_read(&f->machine, config + PCI_CLASS_REVISION, 4),
		0x05800001);
	assert_int_equal(fake_machine_read(&f->machine, config + PCI_SUBSYSTEM_ID, 2), 0x1040 + 42);
	for (unsigned type = VIRTIO_PCI_CAP_COMMON_CFG; type <= VIRTIO_PCI_CAP_PCI_CFG; type++)
		assert_int_not_equal(f->driver.capability[type], 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_NUMQ, 2), 2);
	/* The window reaches the registers without a mapping. */
	uint64_t window = f->driver.config + f->driver.capability[VIRTIO_PCI_CAP_PCI_CFG];
	fake_machine_write(&f->machine, window + 8, VIRTIO_PCI_COMMON_NUMQ, 4);
	fake_machine_write(&f->machine, window + 12, 2, 4);
	assert_int_equal(fake_machine_read(&f->machine, window + 16, 2), 2);
}

static void features_are_negotiated_and_then_fixed(void **state)
{
	struct fixture *f = *state;
	uint64_t offered = pci_driver_features(&f->driver);
	assert_true(offered == (1u << 5 | VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX |
				       VIRTIO_FEATURE_VERSION_1));
	set(f, VIRTIO_PCI_COMMON_DFSELECT, 2, 4);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_DF, 4), 0);
	/* Without version 1, or with what was not offered, there is no agreement. */
	pci_driver_begin(&f->driver);
	pci_driver_accept(&f->driver, 1u << 5);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_FEATURES_OK, 0);
	pci_driver_accept(&f->driver, offered | 1u << 6);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_FEATURES_OK, 0);
	pci_driver_accept(&f->driver, offered | UINT64_C(1) << 40);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_FEATURES_OK, 0);
	pci_driver_accept(&f->driver, offered);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_FEATURES_OK);
	pci_driver_accept(&f->driver, VIRTIO_FEATURE_VERSION_1);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_GF, 4), 1);
	set(f, VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_GF, 4), (uint32_t)offered);
}

static void status_bits_need_those_before_them(void **state)
{
	struct fixture *f = *state;
	set(f, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_DRIVER_OK, 1);
	set(f, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_DRIVER, 1);
	set(f, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_NEEDS_RESET, 1);
	assert_int_equal(status(f), 0);
	pci_driver_begin(&f->driver);
	set(f, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_DRIVER_OK, 1);
	assert_int_equal(status(f), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	set(f, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_FAILED, 1);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_FAILED, VIRTIO_CONFIG_S_FAILED);
	set(f, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(status(f), 0);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "");
}

static void requests_are_served_and_answered(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "a01");
	assert_true(f->device->features == pci_driver_features(&f->driver));
	pci_driver_offer(&f->driver, 1, "x", 1, 4);
	pci_driver_kick(&f->driver, 1);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "a011");
	assert_int_equal(pci_driver_take(&f->driver, 1), 4);
	assert_memory_equal(pci_driver_answer(&f->driver, 1), "done", 4);
	assert_int_equal(pci_driver_interrupts(&f->driver, 1), 1);
	assert_int_equal(pci_driver_interrupts(&f->driver, 0), 0);
	/* The interrupt status is cleared by reading it. */
	assert_int_equal(pci_driver_isr(&f->driver), 1);
	assert_int_equal(pci_driver_isr(&f->driver), 0);
}

static void notifications_by_an_exit_are_the_same(void **state)
{
	struct fixture *f = *state;
	f->machine.cpu.refuses_events = true;
	set(f, 0, 0, 4);
	fake_machine_write(&f->machine, f->driver.config + PCI_COMMAND, 0, 2);
	fake_machine_write(&f->machine, f->driver.config + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	pci_driver_offer(&f->driver, 0, "x", 1, 4);
	pci_driver_kick(&f->driver, 0);
	/* No such queue. */
	set(f, f->driver.notify - f->driver.common + 2 * 4, 2, 2);
	set(f, f->driver.notify - f->driver.common + 4000, 2, 2);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "a010");
	assert_int_equal(pci_driver_take(&f->driver, 0), 4);
}

static void notification_addresses_follow_the_bar(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	uint64_t old = f->driver.notify;
	fake_machine_write(&f->machine, f->driver.config + PCI_BASE_ADDRESS_0, 0xd8000000, 4);
	pci_driver_map(&f->driver);
	assert_true(f->driver.notify != old);
	unsigned there = 0;
	for (unsigned i = 0; i < FAKE_EVENTS_MAX; i++) {
		if (f->machine.cpu.events[i].fd < 0)
			continue;
		assert_true(f->machine.cpu.events[i].address == f->driver.notify ||
			    f->machine.cpu.events[i].address == f->driver.notify + 4);
		there++;
	}
	assert_int_equal(there, 2);
	pci_driver_offer(&f->driver, 0, "x", 1, 4);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(pci_driver_take(&f->driver, 0), 4);
}

static void a_budget_gives_way_and_goes_on(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	for (unsigned i = 0; i < 7; i++)
		pci_driver_offer(&f->driver, 0, "x", 1, 4);
	for (unsigned i = 0; i < 4; i++)
		fake_machine_settle(&f->machine);
	/* Four, and once more for the other three. */
	assert_string_equal(text_string(&f->device->trace), "a010");
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(pci_driver_take(&f->driver, 0), 4);
}

static void queue_size_write_after_activation_is_ignored(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	for (unsigned round = 0; round < 2; round++) {
		set(f, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
		set(f, VIRTIO_PCI_COMMON_Q_SIZE, 64, 2);
		set(f, VIRTIO_PCI_COMMON_Q_DESCLO, 0, 4);
		set(f, VIRTIO_PCI_COMMON_Q_USEDLO, 0, 8);
		set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 0, 2);
		assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
		assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
		assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4), f->driver.rings[0].desc);
		fake_machine_settle(&f->machine);
	}
	pci_driver_offer(&f->driver, 0, "x", 1, 4);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(pci_driver_take(&f->driver, 0), 4);
}

static void odd_queue_sizes_are_ignored(void **state)
{
	struct fixture *f = *state;
	set(f, VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	static const uint16_t bad[] = { 0, 3, 65, 128, 0x8000, UINT16_MAX };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		set(f, VIRTIO_PCI_COMMON_Q_SIZE, bad[i], 2);
		assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	}
	/* No such queue. */
	set(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	set(f, VIRTIO_PCI_COMMON_Q_SIZE, 16, 2);
	set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}

static void a_vector_that_is_not_there_is_refused(void **state)
{
	struct fixture *f = *state;
	set(f, VIRTIO_PCI_COMMON_MSIX, 3, 2);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	set(f, VIRTIO_PCI_COMMON_MSIX, 2, 2);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_MSIX, 2), 2);
	set(f, VIRTIO_PCI_COMMON_Q_MSIX, 0x1000, 2);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}

static void a_reset_shows_when_the_device_thread_is_done(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	uint64_t running = status(f);
	set(f, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_equal(status(f), running);
	/* Nothing is taken meanwhile. */
	set(f, VIRTIO_PCI_COMMON_STATUS, 1, 1);
	set(f, VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	assert_int_equal(status(f), running);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(status(f), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	const char *trace = text_string(&f->device->trace);
	assert_int_equal(trace[strlen(trace) - 1], 'r');

	text_clear(&f->device->trace);
	pci_driver_start(&f->driver, UINT64_MAX, 32);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "a01");
}

static void a_reset_may_come_before_the_start(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	set(f, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	assert_int_not_equal(status(f), 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(status(f), 0);
	assert_string_equal(text_string(&f->device->trace), "");
}

static void a_broken_rule_asks_for_a_reset(void **state)
{
	struct fixture *f = *state;
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	uint64_t generation = get(f, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	ring_driver_offer(&f->driver.rings[0], 16);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_not_equal(get(f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	assert_int_equal(pci_driver_interrupts(&f->driver, 2), 1);
	assert_int_equal(pci_driver_isr(&f->driver), VIRTIO_PCI_ISR_CONFIG);
	/* The other queue is not looked at either. */
	text_clear(&f->device->trace);
	pci_driver_offer(&f->driver, 1, "x", 1, 4);
	pci_driver_kick(&f->driver, 1);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "");

	set(f, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	fake_machine_settle(&f->machine);
	assert_int_equal(status(f), 0);
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	assert_string_equal(text_string(&f->device->trace), "ra01");
	f->device->fails = true;
	pci_driver_offer(&f->driver, 1, "x", 1, 4);
	pci_driver_kick(&f->driver, 1);
	fake_machine_settle(&f->machine);
	assert_int_equal(status(f) & VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_queue_outside_memory_fails_the_device(void **state)
{
	struct fixture *f = *state;
	set(f, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	pci_driver_begin(&f->driver);
	pci_driver_accept(&f->driver, pci_driver_features(&f->driver));
	set(f, VIRTIO_PCI_COMMON_Q_DESCLO, 0x1000, 8);
	set(f, VIRTIO_PCI_COMMON_Q_AVAILLO, UINT64_MAX - 1, 8);
	set(f, VIRTIO_PCI_COMMON_Q_USEDLO, 0x3000, 8);
	set(f, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	set(f, VIRTIO_PCI_COMMON_STATUS, 15, 1);
	fake_machine_settle(&f->machine);
	assert_int_equal(status(f), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_string_equal(text_string(&f->device->trace), "a");
}

static void configuration_of_the_device_is_its_own(void **state)
{
	struct fixture *f = *state;
	uint64_t at = f->driver.device - f->driver.common;
	set(f, at + 4, 0x11223344, 4);
	assert_int_equal(get(f, at + 6, 1), 0x22);
	assert_int_equal(get(f, at + 4, 4), 0x11223344);
	assert_int_equal(get(f, at + 4000, 4), 0);
	pci_driver_start(&f->driver, UINT64_MAX, 16);
	fake_machine_settle(&f->machine);
	virtio_config_changed(f->device->virtio);
	assert_int_equal(pci_driver_interrupts(&f->driver, 2), 1);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
}

static void fields_have_their_width_only(void **state)
{
	struct fixture *f = *state;
	set(f, VIRTIO_PCI_COMMON_STATUS, 1, 4);
	set(f, VIRTIO_PCI_COMMON_STATUS, 1, 2);
	assert_int_equal(status(f), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_NUMQ, 4), 0);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_SIZE + 1, 1), 0);
	assert_int_equal(get(f, 60, 4), 0);
	assert_int_equal(get(f, 0xffc, 8), 0);
	set(f, VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_C(0x1122334455667788), 8);
	assert_int_equal(get(f, VIRTIO_PCI_COMMON_Q_DESCHI, 4), 0x11223344);
	assert_true(get(f, VIRTIO_PCI_COMMON_Q_DESCLO, 8) == UINT64_C(0x1122334455667788));
}

/* ---- both threads at work ---- */

struct device_thread {
	struct loop *loop;
	int stop_fd;
};

static void on_stop(void *context, int fd, uint32_t events)
{
	const struct device_thread *thread = context;
	(void)fd;
	(void)events;
	loop_stop(thread->loop, 0);
}

static void *run_devices(void *context)
{
	struct device_thread *thread = context;
	struct loop_watch *watch = NULL;
	if (loop_watch_fd(thread->loop, thread->stop_fd, EPOLLIN, on_stop, thread, &watch, NULL) <
		0)
		return NULL;
	(void)!loop_run(thread->loop, NULL);
	loop_remove(watch);
	return NULL;
}

static void two_threads_hand_the_device_to_each_other(void **state)
{
	struct fixture *f = *state;
	struct device_thread thread = { f->machine.loop, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	pthread_t device;
	assert_int_equal(pthread_create(&device, NULL, run_devices, &thread), 0);
	for (unsigned round = 0; round < 300; round++) {
		pci_driver_start(&f->driver, UINT64_MAX, 16);
		if (round % 3 != 0) {
			pci_driver_offer(&f->driver, 0, "x", 1, 4);
			pci_driver_kick(&f->driver, 0);
		}
		/* Every third reset runs into the start, every other comes after an answer. */
		if (round % 3 == 1)
			while (pci_driver_take(&f->driver, 0) < 0)
				(void)sched_yield();
		set(f, VIRTIO_PCI_COMMON_MSIX, round % 3, 2);
		set(f, VIRTIO_PCI_COMMON_STATUS, 0, 1);
		while (status(f) != 0)
			(void)sched_yield();
	}
	(void)eventfd_write(thread.stop_fd, 1);
	assert_int_equal(pthread_join(device, NULL), 0);
	(void)close(thread.stop_fd);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FIXTURE(a_function_says_what_it_is_and_where),
		IN_FIXTURE(features_are_negotiated_and_then_fixed),
		IN_FIXTURE(status_bits_need_those_before_them),
		IN_FIXTURE(requests_are_served_and_answered),
		IN_FIXTURE(notifications_by_an_exit_are_the_same),
		IN_FIXTURE(notification_addresses_follow_the_bar),
		IN_FIXTURE(a_budget_gives_way_and_goes_on),
		IN_FIXTURE(queue_size_write_after_activation_is_ignored),
		IN_FIXTURE(odd_queue_sizes_are_ignored),
		IN_FIXTURE(a_vector_that_is_not_there_is_refused),
		IN_FIXTURE(a_reset_shows_when_the_device_thread_is_done),
		IN_FIXTURE(a_reset_may_come_before_the_start),
		IN_FIXTURE(a_broken_rule_asks_for_a_reset),
		IN_FIXTURE(a_queue_outside_memory_fails_the_device),
		IN_FIXTURE(configuration_of_the_device_is_its_own),
		IN_FIXTURE(fields_have_their_width_only),
		IN_FIXTURE(two_threads_hand_the_device_to_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
