/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI transport (virtio 1.2 §4.1), with a guest that programs it as a driver does. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "base/clock.h"
#include "base/num.h"
#include "pci_fixture.h"
#include "tiny_virtio.h"

#define SLOT 1u
#define NVECTORS (TINY_QUEUES + 1)
#define NO_VECTOR VIRTIO_MSI_NO_VECTOR
#define READY_STATUS (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)

struct fixture {
	struct pci_fixture f;
	struct virtio *v;
	struct virtio_pci *pci;
	/* Where the capabilities say that the structures are. */
	uint64_t common, notify, isr, device;
	uint32_t notify_step;
};

static uint64_t structure(struct pci_fixture *f, uint8_t type, unsigned int *ret_cap)
{
	for (unsigned int n = 0;; n++) {
		unsigned int cap = find_capability(f, SLOT, PCI_CAP_ID_VNDR, n);

		assert_int_not_equal(cap, 0);
		if (cfg_get(f, SLOT, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1) != type)
			continue;
		*ret_cap = cap;
		return bar_of(f, SLOT,
			      (unsigned int)cfg_get(f, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1)) +
		       cfg_get(f, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4);
	}
}

static void find_structures(struct fixture *t)
{
	unsigned int cap;

	t->common = structure(&t->f, VIRTIO_PCI_CAP_COMMON_CFG, &cap);
	t->isr = structure(&t->f, VIRTIO_PCI_CAP_ISR_CFG, &cap);
	t->device = structure(&t->f, VIRTIO_PCI_CAP_DEVICE_CFG, &cap);
	t->notify = structure(&t->f, VIRTIO_PCI_CAP_NOTIFY_CFG, &cap);
	t->notify_step = (uint32_t)cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
}

static void init(struct fixture *t)
{
	*t = (struct fixture){ 0 };
	assert_int_equal(pci_fixture_init(&t->f), 0);
	assert_int_equal(tiny_virtio_create(&t->f.machine.host, &t->v), 0);
	assert_int_equal(virtio_pci_create(t->v, &t->f.machine.host, t->f.pci, SLOT, &t->pci, NULL),
			 0);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	find_structures(t);
	t->f.machine.v = t->v;
}

static void fini(struct fixture *t)
{
	virtio_pci_destroy(t->pci);
	assert_int_equal(t->f.machine.nnotify, 0);
	virtio_destroy(t->v);
	pci_fixture_fini(&t->f);
}

static int setup(void **state)
{
	static struct fixture t;

	init(&t);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	fini(*state);
	virtio_pci_destroy(NULL);
	return 0;
}

static uint32_t get(struct fixture *t, unsigned int reg, unsigned int size_bytes)
{
	return (uint32_t)mem_get(&t->f, t->common + reg, size_bytes);
}

static void put(struct fixture *t, unsigned int reg, unsigned int size_bytes, uint64_t value)
{
	mem_put(&t->f, t->common + reg, size_bytes, value);
}

static uint8_t status(struct fixture *t)
{
	return (uint8_t)get(t, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void add_status(struct fixture *t, uint8_t bits)
{
	put(t, VIRTIO_PCI_COMMON_STATUS, 1, status(t) | bits);
}

static void negotiate(struct fixture *t, uint64_t features)
{
	add_status(t, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned int i = 0; i < 2; i++) {
		put(t, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		put(t, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
	}
	add_status(t, VIRTIO_FEATURES_OK);
	t->f.machine.features = features;
}

/* Rings, vector (queue + 1), enable; 64-bit addresses in one access and in two. */
static void start_queue(struct fixture *t, unsigned int queue)
{
	const struct driver_queue *q = &t->f.machine.queue[queue];

	driver_place_queue(&t->f.machine, queue, TINY_QUEUE_SIZE / 2);
	put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	put(t, VIRTIO_PCI_COMMON_Q_SIZE, 2, q->size);
	put(t, VIRTIO_PCI_COMMON_Q_MSIX, 2, queue + 1);
	put(t, VIRTIO_PCI_COMMON_Q_DESCLO, 8, q->desc_gpa);
	put(t, VIRTIO_PCI_COMMON_Q_AVAILHI, 4, q->avail_gpa >> 32);
	put(t, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, (uint32_t)q->avail_gpa);
	put(t, VIRTIO_PCI_COMMON_Q_USEDLO, 4, (uint32_t)q->used_gpa);
	put(t, VIRTIO_PCI_COMMON_Q_USEDHI, 4, q->used_gpa >> 32);
	put(t, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void start(struct fixture *t)
{
	unsigned int cap = find_capability(&t->f, SLOT, PCI_CAP_ID_MSIX, 0);

	for (unsigned int i = 0; i < NVECTORS; i++)
		set_vector(&t->f, SLOT, i, 0xfee00000, 0x40 + i, 0);
	cfg_put(&t->f, SLOT, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	negotiate(t, 1ull << VIRTIO_F_VERSION_1);
	put(t, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned int i = 0; i < TINY_QUEUES; i++)
		start_queue(t, i);
	add_status(t, VIRTIO_DRIVER_OK);
	assert_int_equal(status(t), READY_STATUS);
	virtio_resume(t->v);
}

/* Bounded waits for what the worker does. */
static bool wait_signals(struct fixture *t, unsigned int vector)
{
	uint64_t end = clock_mono_ns() + DRIVER_WAIT_MS * 1000000ull;

	while (clock_mono_ns() < end) {
		if (take_signals(t->f.machine.msi[vector].eventfd))
			return true;
	}
	return false;
}

/* One request that the notification at the queue's own address tells of. */
static void request(struct fixture *t, unsigned int queue)
{
	struct driver *d = &t->f.machine;
	uint64_t gpa = driver_alloc(d, 64);
	const struct driver_part part = { gpa, 64, true };
	uint16_t head = driver_add(d, queue, &part, 1), used;
	uint32_t written = 0;
	const uint8_t *bytes;

	mem_put(&t->f, t->notify + queue * t->notify_step, 2, queue);
	assert_true(driver_wait_used(d, queue, &used, &written));
	assert_int_equal(used, head);
	assert_int_equal(written, 64);
	bytes = driver_ptr(d, gpa, 64);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(bytes[i], TINY_FILL);
}

static void is_a_modern_virtio_device(void **state)
{
	struct fixture *t = *state;
	unsigned int cap;

	assert_int_equal(cfg_get(&t->f, SLOT, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(cfg_get(&t->f, SLOT, PCI_DEVICE_ID, 2), 0x1040 + TINY_DEVICE_ID);
	assert_int_equal(cfg_get(&t->f, SLOT, PCI_CLASS_REVISION, 4), TINY_CLASS << 8 | 1);
	assert_true(cfg_get(&t->f, SLOT, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	assert_int_equal(cfg_get(&t->f, SLOT, PCI_INTERRUPT_PIN, 1), 0);
	cap = find_capability(&t->f, SLOT, PCI_CAP_ID_MSIX, 0);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + PCI_MSIX_FLAGS, 2), NVECTORS - 1);
	assert_int_equal(t->common % 4, 0);
	assert_int_equal(t->device % 4, 0);
	assert_int_equal(t->notify_step, 4);
	(void)structure(&t->f, VIRTIO_PCI_CAP_NOTIFY_CFG, &cap);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LEN, 1), 20);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4), 4 * TINY_QUEUES);
	(void)structure(&t->f, VIRTIO_PCI_CAP_COMMON_CFG, &cap);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LEN, 1), 16);
	assert_true(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4) >=
		    sizeof(struct virtio_pci_common_cfg));
	(void)structure(&t->f, VIRTIO_PCI_CAP_DEVICE_CFG, &cap);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4), TINY_CONFIG_BYTES);
	(void)structure(&t->f, VIRTIO_PCI_CAP_PCI_CFG, &cap);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LEN, 1), 20);
}

static void shows_features_by_halves(void **state)
{
	struct fixture *t = *state;
	uint64_t features = 0;

	for (unsigned int i = 0; i < 4; i++) {
		put(t, VIRTIO_PCI_COMMON_DFSELECT, 4, i);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_DFSELECT, 4), i);
		if (i < 2)
			features |= (uint64_t)get(t, VIRTIO_PCI_COMMON_DF, 4) << 32 * i;
		else
			assert_int_equal(get(t, VIRTIO_PCI_COMMON_DF, 4), 0);
	}
	assert_int_equal(features, VIRTIO_CORE_FEATURES | 1u << TINY_FEATURE);
	assert_int_equal(features >> VIRTIO_F_RING_RESET & 1, 0);
	negotiate(t, 1ull << VIRTIO_F_VERSION_1 | 1u << TINY_FEATURE);
	put(t, VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
	put(t, VIRTIO_PCI_COMMON_GF, 4, 0xffffffff); /* no such half */
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_GF, 4), 0);
	put(t, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_GF, 4), 1u << TINY_FEATURE);
	put(t, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_GF, 4), 1);
	assert_true(status(t) & VIRTIO_FEATURES_OK);
	assert_int_equal(t->v->driver_features, 1ull << VIRTIO_F_VERSION_1 | 1u << TINY_FEATURE);
}

static void answers_by_the_registers_width(void **state)
{
	struct fixture *t = *state;

	put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	put(t, VIRTIO_PCI_COMMON_Q_SELECT, 4, 2);
	put(t, VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_SELECT, 2), 1);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_SELECT, 1), 0);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_NUMQ, 2), TINY_QUEUES);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_NUMQ, 4), 0);
	put(t, VIRTIO_PCI_COMMON_STATUS, 4, 1);
	put(t, VIRTIO_PCI_COMMON_STATUS, 2, 1);
	assert_int_equal(status(t), 0);
	for (unsigned int reg = 0; reg < 0x40; reg++) { /* the odd ones, and what lies behind */
		if (reg % 2 && reg != VIRTIO_PCI_COMMON_CFGGENERATION) {
			put(t, reg, 4, 0xffffffff);
			assert_int_equal(get(t, reg, 4), 0);
		}
	}
	put(t, VIRTIO_PCI_COMMON_Q_RESET, 2, 1); /* not offered */
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	assert_int_equal(mem_get(&t->f, t->common + 0x40, 4), 0);
	assert_int_equal(status(t), 0);
}

static void keeps_registers_of_each_queue(void **state)
{
	struct fixture *t = *state;

	for (unsigned int q = 0; q < TINY_QUEUES; q++) {
		put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_SIZE, 2), TINY_QUEUE_SIZE);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_NOFF, 2), q);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		for (unsigned int reg = VIRTIO_PCI_COMMON_Q_DESCLO;
		     reg <= VIRTIO_PCI_COMMON_Q_USEDHI; reg += 4) {
			put(t, reg, 4, 0x01010101u * reg + q);
			assert_int_equal(get(t, reg, 4), 0x01010101u * reg + q);
		}
		put(t, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
		put(t, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	}
	for (unsigned int q = 0; q < TINY_QUEUES; q++) {
		put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		assert_int_equal(mem_get(&t->f, t->common + VIRTIO_PCI_COMMON_Q_USEDLO, 8),
				 (uint64_t)(0x34343434u + q) << 32 | (0x30303030u + q));
	}
	/* Beyond the last. */
	for (unsigned int i = 0; i < 2; i++) {
		put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, i ? 0xffff : TINY_QUEUES);
		for (unsigned int reg = VIRTIO_PCI_COMMON_Q_SIZE; reg <= VIRTIO_PCI_COMMON_Q_NOFF;
		     reg += 2) {
			put(t, reg, 2, 1);
			assert_int_equal(get(t, reg, 2),
					 reg == VIRTIO_PCI_COMMON_Q_MSIX ? NO_VECTOR : 0);
		}
		put(t, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
	}
}

static void takes_only_vectors_it_has(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(get(t, VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
	put(t, VIRTIO_PCI_COMMON_MSIX, 2, NVECTORS - 1);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_MSIX, 2), NVECTORS - 1);
	put(t, VIRTIO_PCI_COMMON_MSIX, 2, NVECTORS);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
	for (unsigned int q = 0; q < TINY_QUEUES; q++) {
		put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
		put(t, VIRTIO_PCI_COMMON_Q_MSIX, 2, 0); /* several may share one */
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0);
		put(t, VIRTIO_PCI_COMMON_Q_MSIX, 2, 64);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
		put(t, VIRTIO_PCI_COMMON_Q_MSIX, 2, q);
	}
	for (unsigned int q = 0; q < TINY_QUEUES; q++) {
		put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_MSIX, 2), q);
	}
}

static void serves_a_driver(void **state)
{
	struct fixture *t = *state;

	start(t);
	for (unsigned int n = 0; n < 20; n++) {
		request(t, n % TINY_QUEUES);
		assert_true(wait_signals(t, n % TINY_QUEUES + 1));
	}
	assert_int_equal(mem_get(&t->f, t->isr, 1), 1);
	assert_int_equal(mem_get(&t->f, t->isr, 1), 0); /* reading has cleared it */
}

static void says_nothing_without_a_vector(void **state)
{
	struct fixture *t = *state;

	start(t);
	put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	put(t, VIRTIO_PCI_COMMON_Q_MSIX, 2, NO_VECTOR);
	request(t, 1);
	request(t, 2);
	assert_true(wait_signals(t, 3));
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(take_signals(t->f.machine.msi[i].eventfd), 0);
	assert_int_equal(mem_get(&t->f, t->isr, 1), 1); /* for one who polls */
}

static void tells_of_its_configuration(void **state)
{
	struct fixture *t = *state;
	uint32_t generation;

	start(t);
	assert_int_equal(mem_get(&t->f, t->device, 4), 0x796e6974); /* "tiny" */
	assert_int_equal(mem_get(&t->f, t->device + 4, 8), 0x6769666e6f632d);
	assert_int_equal(mem_get(&t->f, t->device + TINY_CONFIG_BYTES, 8), 0);
	mem_put(&t->f, t->device + 1, 2, 0x4141);
	assert_int_equal(mem_get(&t->f, t->device, 4), 0x79414174);
	mem_put(&t->f, t->device + TINY_CONFIG_BYTES - 1, 2, 0x4141); /* across the end */
	assert_int_equal(mem_get(&t->f, t->device + TINY_CONFIG_BYTES - 1, 1), 0);
	generation = get(t, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	virtio_set_config(t->v, 0, "T", 1);
	assert_true(wait_signals(t, 0));
	assert_int_not_equal(get(t, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	assert_int_equal(mem_get(&t->f, t->isr, 1), VIRTIO_PCI_ISR_CONFIG);
}

static void begins_anew_after_a_reset(void **state)
{
	struct fixture *t = *state;

	start(t);
	request(t, 0);
	put(t, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(status(t), 0);
	assert_int_equal(mem_get(&t->f, t->isr, 1), 0);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	for (unsigned int q = 0; q < TINY_QUEUES; q++) {
		put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		assert_int_equal(get(t, VIRTIO_PCI_COMMON_Q_SIZE, 2), TINY_QUEUE_SIZE);
	}
	start(t);
	request(t, 2);
	assert_true(wait_signals(t, 3));
}

/* The ioeventfd of a queue that is at @gpa; NULL: none there. */
static const struct driver_notify *notify_at(struct fixture *t, uint64_t gpa)
{
	for (unsigned int i = 0; i < t->f.machine.nnotify; i++) {
		if (t->f.machine.notify[i].gpa == gpa)
			return &t->f.machine.notify[i];
	}
	return NULL;
}

/* Each queue's notification comes as an exit once, and by an ioeventfd from then on. */
static void notify_all(struct fixture *t)
{
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int q = 0; q < TINY_QUEUES; q++)
			mem_put(&t->f, t->notify + 4 * q, 2, q);
}

static void check_notifications(struct fixture *t)
{
	notify_all(t);
	assert_int_equal(t->f.machine.nnotify, TINY_QUEUES);
	for (unsigned int q = 0; q < TINY_QUEUES; q++) {
		const struct driver_notify *n = notify_at(t, t->notify + 4 * q);

		assert_non_null(n);
		assert_int_equal(n->len_bytes, 0);
		assert_false(n->match);
		assert_int_equal(n->eventfd, t->v->queue[q].kick_fd);
	}
}

static void moves_notifications_with_the_bar(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(t->f.machine.nnotify, 0);
	mem_put(&t->f, t->notify + 4, 4, 0); /* what is written does not matter */
	assert_int_equal(t->f.machine.nnotify, 1);
	assert_non_null(notify_at(t, t->notify + 4));
	mem_put(&t->f, t->notify + 4 * TINY_QUEUES, 2, 0);
	mem_put(&t->f, t->notify + 2, 2, 0);
	assert_int_equal(t->f.machine.nnotify, 1);
	check_notifications(t);
	cfg_put(&t->f, SLOT, PCI_BASE_ADDRESS_0, 4, PCI_WINDOW_GPA + 0x40000);
	assert_int_equal(t->f.machine.nnotify, 0);
	find_structures(t);
	check_notifications(t);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_int_equal(t->f.machine.nnotify, 0);
	notify_all(t);
	assert_int_equal(t->f.machine.nnotify, 0);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	check_notifications(t);
	cfg_put(&t->f, SLOT, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	assert_int_equal(t->f.machine.nnotify, 0);
	cfg_put(&t->f, SLOT, PCI_BASE_ADDRESS_0, 4, PCI_WINDOW_GPA + 0x50000);
	find_structures(t);
	check_notifications(t);
	start(t);
	request(t, 1);
}

/* Two devices at one address: the lower slot is notified. The other has no ioeventfd there, takes none away when it leaves, and has its own where it goes. */
static void shares_an_address_without_harm(void **state)
{
	struct fixture *t = *state;
	const uint32_t at = bar_of(&t->f, SLOT, 0);
	struct virtio *other = NULL;
	struct virtio_pci *pci = NULL;

	assert_int_equal(tiny_virtio_create(&t->f.machine.host, &other), 0);
	assert_int_equal(virtio_pci_create(other, &t->f.machine.host, t->f.pci, SLOT, &pci, NULL),
			 -EBUSY);
	assert_int_equal(
		virtio_pci_create(other, &t->f.machine.host, t->f.pci, SLOT + 1, &pci, NULL), 0);
	cfg_put(&t->f, SLOT + 1, PCI_BASE_ADDRESS_0, 4, at);
	cfg_put(&t->f, SLOT + 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	check_notifications(t);
	start(t);
	request(t, 0);
	assert_int_equal(virtio_get_status(other), 0);
	/* The lower slot leaves: the addresses are the other's. Where it comes back to, they are taken. */
	cfg_put(&t->f, SLOT, PCI_BASE_ADDRESS_0, 4, at + 0x10000);
	notify_all(t);
	assert_int_equal(t->f.machine.nnotify, TINY_QUEUES);
	assert_int_equal(notify_at(t, t->notify)->eventfd, other->queue[0].kick_fd);
	cfg_put(&t->f, SLOT, PCI_BASE_ADDRESS_0, 4, at);
	notify_all(t);
	request(t, 1);
	assert_int_equal(t->f.machine.nnotify, TINY_QUEUES);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, 0);
	assert_int_equal(t->f.machine.nnotify, TINY_QUEUES);
	virtio_pci_destroy(pci);
	virtio_destroy(other);
	assert_int_equal(t->f.machine.nnotify, 0);
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	check_notifications(t);
}

static void set_window(struct fixture *t, unsigned int cap, uint8_t bar, uint32_t offset,
		       uint32_t len)
{
	cfg_put(&t->f, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1, bar);
	cfg_put(&t->f, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	cfg_put(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

static void reaches_its_bar_by_configuration_accesses(void **state)
{
	struct fixture *t = *state;
	const uint32_t bar = bar_of(&t->f, SLOT, 0);
	const uint32_t reg = (uint32_t)(t->common - bar);
	unsigned int cap, data;

	(void)structure(&t->f, VIRTIO_PCI_CAP_PCI_CFG, &cap);
	data = cap + 16;
	cfg_put(&t->f, SLOT, PCI_COMMAND, 2, 0); /* works with memory space off */
	set_window(t, cap, 0, reg + VIRTIO_PCI_COMMON_NUMQ, 2);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4),
			 reg + VIRTIO_PCI_COMMON_NUMQ);
	assert_int_equal(cfg_get(&t->f, SLOT, data, 2), TINY_QUEUES);
	set_window(t, cap, 0, reg + VIRTIO_PCI_COMMON_DFSELECT, 4);
	cfg_put(&t->f, SLOT, data, 4, 1);
	set_window(t, cap, 0, reg + VIRTIO_PCI_COMMON_DF, 4);
	assert_int_equal(cfg_get(&t->f, SLOT, data, 4), VIRTIO_CORE_FEATURES >> 32);
	set_window(t, cap, 0, reg + VIRTIO_PCI_COMMON_STATUS, 1);
	cfg_put(&t->f, SLOT, data, 1, VIRTIO_ACKNOWLEDGE);
	assert_int_equal(virtio_get_status(t->v), VIRTIO_ACKNOWLEDGE);
	assert_int_equal(cfg_get(&t->f, SLOT, data, 1), VIRTIO_ACKNOWLEDGE);
	cfg_put(&t->f, SLOT, data, 1, 0);
	assert_int_equal(virtio_get_status(t->v), 0);
	/* Fixed parts stay. */
	cfg_put(&t->f, SLOT, cap, 4, 0xffffffff);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1),
			 VIRTIO_PCI_CAP_PCI_CFG);
	assert_int_equal(cfg_get(&t->f, SLOT, cap + VIRTIO_PCI_CAP_LEN, 1), 20);
}

static void refuses_a_window_that_no_driver_may_set(void **state)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, len;
	} bad[] = {
		{ 1, 0, 4 },          { 2, 0, 4 },      { 0xff, 0, 4 },       { 0, 0, 0 },
		{ 0, 0, 3 },          { 0, 0, 8 },      { 0, 2, 4 },          { 0, 0x1000, 4 },
		{ 0, 0xfffffffc, 4 }, { 0, 1, 0x1000 }, { 0, 0, 0xffffffff },
	};
	struct fixture *t = *state;
	unsigned int cap;

	(void)structure(&t->f, VIRTIO_PCI_CAP_PCI_CFG, &cap);
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		set_window(t, cap, bad[i].bar, bad[i].offset, bad[i].len);
		cfg_put(&t->f, SLOT, cap + 16, 4, 0x11223344);
		assert_int_equal(cfg_get(&t->f, SLOT, cap + 16, 4), 0x11223344);
	}
	assert_int_equal(get(t, VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
	assert_int_equal(mem_get(&t->f, bar_of(&t->f, SLOT, 1), 8), 0);
}

static void fill_entries(struct fixture *t, struct state_entry entries[4])
{
	unsigned int n = virtio_state_entries(t->v, SLOT, entries);

	assert_int_equal(n, 1);
	assert_int_equal(virtio_pci_state_entries(t->pci, SLOT, entries + n), 2);
}

/* A device that works moves to a second machine, whose BARs and vectors were elsewhere, and goes on. */
static void moves_to_another_machine(void **state)
{
	struct fixture *t = *state;
	static struct fixture other;
	struct state_entry entries[4];
	struct buf first = { 0 }, second = { 0 };
	unsigned int cap;

	init(&other);
	cfg_put(&t->f, SLOT, PCI_BASE_ADDRESS_0, 4, PCI_WINDOW_GPA + 0x40000);
	find_structures(t);
	start(t);
	request(t, 1);
	assert_true(wait_signals(t, 2));
	(void)structure(&t->f, VIRTIO_PCI_CAP_PCI_CFG, &cap);
	set_window(t, cap, 0, 0x10, 2);
	put(t, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	put(t, VIRTIO_PCI_COMMON_Q_SELECT, 2, 2);
	assert_int_equal(virtio_pause(t->v, clock_mono_ns() + 1000000000ull, NULL), 0);
	fill_entries(t, entries);
	assert_int_equal(state_save_all(entries, 3, &first, NULL), 0);

	memcpy(other.f.machine.mem->base, t->f.machine.mem->base,
	       t->f.machine.mem->npages * GMEM_PAGE_SIZE);
	memcpy(other.f.machine.queue, t->f.machine.queue, sizeof(t->f.machine.queue));
	other.f.machine.next_gpa = t->f.machine.next_gpa;
	fill_entries(&other, entries);
	assert_int_equal(state_load_all(entries, 3, first.data, first.len_bytes, NULL), 0);
	assert_int_equal(state_save_all(entries, 3, &second, NULL), 0);
	assert_int_equal(first.len_bytes, second.len_bytes);
	assert_memory_equal(first.data, second.data, first.len_bytes);
	find_structures(&other);
	assert_int_equal(other.notify, t->notify);
	assert_int_equal(other.f.machine.nnotify, 0); /* that can wait until the guest runs */
	assert_int_equal(get(&other, VIRTIO_PCI_COMMON_Q_SELECT, 2), 2);
	assert_int_equal(get(&other, VIRTIO_PCI_COMMON_Q_MSIX, 2), 3);
	assert_int_equal(get(&other, VIRTIO_PCI_COMMON_DFSELECT, 4), 1);
	assert_int_equal(cfg_get(&other.f, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4), 0x10);
	assert_true(other.f.machine.msi[2].set);
	assert_int_equal(other.f.machine.msi[2].message.data, 0x42);
	virtio_resume(other.v);
	request(&other, 1);
	assert_true(wait_signals(&other, 2));
	check_notifications(&other);
	buf_fini(&first);
	buf_fini(&second);
	fini(&other);
}

/* Offsets in the section's body: state.md, section "virtio-pci". */
enum { AT_ISR = 10, AT_CONFIG_VECTOR = 11, AT_QUEUE_VECTORS = 13 };

static void refuses_what_no_transport_has(void **state)
{
	static const struct {
		unsigned int at;
		uint8_t low, high;
		const char *says;
	} cases[] = {
		{ AT_ISR, 4, 0xff, "isr" },
		{ AT_CONFIG_VECTOR, NVECTORS, 0, "config_vector" },
		{ AT_CONFIG_VECTOR, 64, 0, "config_vector" },
		{ AT_CONFIG_VECTOR, 0xfe, 0xff, "config_vector" },
		{ AT_QUEUE_VECTORS, NVECTORS, 0, "queue_vectors[0]" },
		{ AT_QUEUE_VECTORS + 2 * TINY_QUEUES, 0, 0, "queue_vectors[3]" },
	};
	struct fixture *t = *state;
	struct state_entry entries[2];
	struct buf good = { 0 };
	unsigned int body;

	assert_int_equal(virtio_pci_state_entries(t->pci, SLOT, entries), 2);
	assert_int_equal(state_save_all(entries + 1, 1, &good, NULL), 0);
	body = 1 + 10 + 10; /* name, instance, version, length */
	assert_int_equal(state_load_all(entries + 1, 1, good.data, good.len_bytes, NULL), 0);
	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t *at = good.data + body + cases[i].at;
		uint8_t was[2] = { at[0], at[1] };
		struct err err = { 0 };

		at[0] = cases[i].low;
		at[1] = cases[i].high;
		assert_int_equal(state_load_all(entries + 1, 1, good.data, good.len_bytes, &err),
				 -EBADMSG);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("case %u: %s", i, err.msg);
		memcpy(at, was, 2);
	}
	assert_int_equal(state_load_all(entries + 1, 1, good.data, good.len_bytes, NULL), 0);
	buf_fini(&good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_a_modern_virtio_device, setup, teardown),
		cmocka_unit_test_setup_teardown(shows_features_by_halves, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_by_the_registers_width, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_registers_of_each_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_only_vectors_it_has, setup, teardown),
		cmocka_unit_test_setup_teardown(serves_a_driver, setup, teardown),
		cmocka_unit_test_setup_teardown(says_nothing_without_a_vector, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_its_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(begins_anew_after_a_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_notifications_with_the_bar, setup, teardown),
		cmocka_unit_test_setup_teardown(shares_an_address_without_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(reaches_its_bar_by_configuration_accesses, setup,
						teardown),
		cmocka_unit_test_setup_teardown(refuses_a_window_that_no_driver_may_set, setup,
						teardown),
		cmocka_unit_test_setup_teardown(moves_to_another_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_no_transport_has, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
