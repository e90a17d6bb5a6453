/* SPDX-License-Identifier: Apache-2.0 */
#include "msix.h"

#include <errno.h>
#include <sys/eventfd.h>

#include <linux/pci_regs.h>

#include "base/bytes.h"
#include "base/fd.h"

enum { WORD_ADDR_LOW, WORD_ADDR_HIGH, WORD_DATA, WORD_CONTROL };

/* Bits that a table entry keeps: a message's address is a multiple of four (§6.8.2.7), vector control has its mask bit. */
static const uint32_t word_bits[MSIX_ENTRY_WORDS] = { ~3u, ~0u, ~0u, PCI_MSIX_ENTRY_CTRL_MASKBIT };

static bool may_send(const struct msix *m, const struct msix_vector *v)
{
	return m->enabled && !m->masked && m->master &&
	       !(v->word[WORD_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Tells the host what the vector's message is now. One that the host refuses does not arrive: the guest wrote it. */
static int update_message(struct msix *m, unsigned int i, struct err *err)
{
	struct msix_vector *v = &m->vector[i];
	struct irq_msi message = {
		.addr = (uint64_t)v->word[WORD_ADDR_HIGH] << 32 | v->word[WORD_ADDR_LOW],
		.data = v->word[WORD_DATA],
		.devid = m->devid,
	};
	bool send = may_send(m, v);
	int rc;

	if (!send && !v->live)
		return 0;
	rc = m->host->ops->msi_set(m->host->opaque, v->route, send ? &message : NULL, err);
	v->live = send && !rc;
	return rc;
}

static void send_now(struct msix *m, unsigned int i)
{
	m->pending &= ~(1ull << i);
	(void)eventfd_write(m->vector[i].eventfd, 1);
}

/* The guest has changed something of vector @i, or of all of them. */
static void update_vector(struct msix *m, unsigned int i)
{
	(void)update_message(m, i, NULL);
	if (m->vector[i].live && m->pending >> i & 1)
		send_now(m, i);
}

/* What would have been sent while MSI-X was off is gone, pending or not. */
static void take_control(struct msix *m, uint16_t control, bool master)
{
	m->enabled = control & PCI_MSIX_FLAGS_ENABLE;
	m->masked = control & PCI_MSIX_FLAGS_MASKALL;
	m->master = master;
	if (!m->enabled)
		m->pending = 0;
}

void msix_set_control(struct msix *m, uint16_t control, bool master)
{
	bool enabled, masked;

	if (!m->nvectors)
		return;
	pthread_mutex_lock(&m->lock);
	enabled = m->enabled;
	masked = m->masked || !m->master;
	take_control(m, control, master);
	if (enabled != m->enabled || masked != (m->masked || !m->master))
		for (unsigned int i = 0; i < m->nvectors; i++)
			update_vector(m, i);
	pthread_mutex_unlock(&m->lock);
}

/* The vector that a table word belongs to, or nvectors and more. */
static unsigned int vector_of(uint64_t offset)
{
	return (unsigned int)((offset - MSIX_TABLE_OFFSET) / PCI_MSIX_ENTRY_SIZE);
}

static unsigned int word_of(uint64_t offset)
{
	return (unsigned int)(offset % PCI_MSIX_ENTRY_SIZE / 4);
}

static uint32_t read_word(const struct msix *m, uint64_t offset)
{
	if (offset >= MSIX_PBA_OFFSET && offset - MSIX_PBA_OFFSET < sizeof(m->pending))
		return (uint32_t)(m->pending >> (offset - MSIX_PBA_OFFSET) * 8);
	if (vector_of(offset) < m->nvectors)
		return m->vector[vector_of(offset)].word[word_of(offset)];
	return 0;
}

static bool access_ok(uint64_t offset, unsigned int size_bytes)
{
	return (size_bytes == 4 || size_bytes == 8) && offset % size_bytes == 0;
}

uint64_t msix_read(struct msix *m, uint64_t offset, unsigned int size_bytes)
{
	uint64_t v;

	if (!access_ok(offset, size_bytes))
		return 0;
	pthread_mutex_lock(&m->lock);
	v = read_word(m, offset);
	if (size_bytes == 8)
		v |= (uint64_t)read_word(m, offset + 4) << 32;
	pthread_mutex_unlock(&m->lock);
	return v;
}

void msix_write(struct msix *m, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	unsigned int i = vector_of(offset), w = word_of(offset);

	if (!access_ok(offset, size_bytes) || i >= m->nvectors)
		return;
	pthread_mutex_lock(&m->lock);
	m->vector[i].word[w] = (uint32_t)value & word_bits[w];
	if (size_bytes == 8)
		m->vector[i].word[w + 1] = (uint32_t)(value >> 32) & word_bits[w + 1];
	update_vector(m, i);
	pthread_mutex_unlock(&m->lock);
}

void msix_send(struct msix *m, unsigned int vector)
{
	if (vector >= m->nvectors)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->vector[vector].live)
		send_now(m, vector);
	else if (m->enabled)
		m->pending |= 1ull << vector;
	pthread_mutex_unlock(&m->lock);
}

bool msix_entry_ok(const uint8_t *entry)
{
	for (unsigned int w = 0; w < MSIX_ENTRY_WORDS; w++) {
		if (le32_get(entry + 4 * w) & ~word_bits[w])
			return false;
	}
	return true;
}

void msix_save(struct msix *m, uint8_t *table, uint64_t *ret_pending)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nvectors * MSIX_ENTRY_WORDS; i++)
		le32_put(table + 4 * i, m->vector[i / MSIX_ENTRY_WORDS].word[i % MSIX_ENTRY_WORDS]);
	*ret_pending = m->pending;
	pthread_mutex_unlock(&m->lock);
}

int msix_load(struct msix *m, uint16_t control, bool master, const uint8_t *table, uint64_t pending,
	      struct err *err)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->nvectors * MSIX_ENTRY_WORDS; i++)
		m->vector[i / MSIX_ENTRY_WORDS].word[i % MSIX_ENTRY_WORDS] =
			le32_get(table + 4 * i);
	m->pending = pending;
	take_control(m, control, master);
	for (unsigned int i = 0; i < m->nvectors && !rc; i++)
		rc = update_message(m, i, err);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int open_vector(struct msix *m, struct msix_vector *v, struct err *err)
{
	int rc;

	v->word[WORD_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	v->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->eventfd < 0)
		return err_sys(err, -errno, "PCI interrupt vector: eventfd");
	rc = m->host->ops->msi_open(m->host->opaque, v->eventfd, &v->route, err);
	if (rc)
		fd_close(&v->eventfd);
	return rc;
}

int msix_init(struct msix *m, const struct dev_host *host, unsigned int nvectors, uint32_t devid,
	      struct err *err)
{
	int rc = 0;

	*m = (struct msix){ .host = host, .devid = devid };
	pthread_mutex_init(&m->lock, NULL);
	while (m->nvectors < nvectors && !rc) {
		rc = open_vector(m, &m->vector[m->nvectors], err);
		m->nvectors += !rc;
	}
	if (rc)
		msix_fini(m);
	return rc;
}

void msix_fini(struct msix *m)
{
	for (unsigned int i = 0; i < m->nvectors; i++) {
		m->host->ops->msi_close(m->host->opaque, m->vector[i].route);
		fd_close(&m->vector[i].eventfd);
	}
	m->nvectors = 0;
	pthread_mutex_destroy(&m->lock);
}
