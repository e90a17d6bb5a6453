/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A UART, after the National Semiconductor NS16550A data sheet. What is simplified:
 * - a byte is sent the moment it is written, so that THR is always empty and the FIFO for sending holds nothing;
 * - bytes below the FIFO's trigger level raise the character timeout at once instead of after four character times;
 * - lines have no errors and the other end's modem lines are always up.
 * The INTR pin is not gated with OUT2: that gate is the PC board's, and simple guests leave it closed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "devices/device.h"

enum reg { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, REG_COUNT };

enum {
	IER_RDA = 0x01,
	IER_THRE = 0x02,
	IER_RLS = 0x04,
	IER_MSR = 0x08,
	IER_MASK = 0x0f,

	IIR_MSR = 0x00,
	IIR_NONE = 0x01,
	IIR_THRE = 0x02,
	IIR_RDA = 0x04,
	IIR_RLS = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,

	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,
	FCR_KEPT = 0xc9, /* enable, DMA mode, trigger level; the clear bits clear themselves */

	LCR_DLAB = 0x80,

	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,

	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_ERRORS = 0x1e, /* OE, PE, FE, BI */
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,

	MSR_TERI = 0x04,
	MSR_DELTAS = 0x0f,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
};

#define FIFO_BYTES 16u

struct serial {
	pthread_mutex_t lock; /* everything below */
	struct irq_pin irq;
	struct serial_sink sink;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t lsr_errors;
	uint8_t msr_deltas;
	bool thre_pending; /* THR became empty and nobody has seen the interrupt */
	bool level; /* what the pin was last set to */
	bool input_refused;
	uint8_t rx[FIFO_BYTES];
	unsigned int rx_at, rx_len;
	uint8_t queue[SERIAL_QUEUE_BYTES]; /* from the host, on its way to the receiver */
	unsigned int queue_at, queue_len;
};

static unsigned int rx_capacity(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_BYTES : 1;
}

static unsigned int rx_trigger(const struct serial *s)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority, as IIR bits 3-0 (data sheet, table of interrupt control functions). */
static uint8_t pending(const struct serial *s)
{
	if ((s->ier & IER_RLS) && s->lsr_errors)
		return IIR_RLS;
	if ((s->ier & IER_RDA) && s->rx_len >= rx_trigger(s))
		return IIR_RDA;
	if ((s->ier & IER_RDA) && s->rx_len)
		return IIR_TIMEOUT;
	if ((s->ier & IER_THRE) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MSR) && s->msr_deltas)
		return IIR_MSR;
	return IIR_NONE;
}

static void update_irq(struct serial *s)
{
	bool level = pending(s) != IIR_NONE;

	if (level == s->level)
		return;
	s->level = level;
	s->irq.set(s->irq.opaque, s->irq.gsi, level);
}

/* In loopback the outputs are the inputs. */
static uint8_t msr_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void receive(struct serial *s, uint8_t byte)
{
	if (s->rx_len == rx_capacity(s)) {
		s->lsr_errors |= LSR_OE;
		/* With FIFOs the byte in the shift register is lost, without them the unread one is. */
		if (!(s->fcr & FCR_ENABLE))
			s->rx[s->rx_at] = byte;
		return;
	}
	s->rx[(s->rx_at + s->rx_len) % FIFO_BYTES] = byte;
	s->rx_len++;
}

/* Queued input moves on as far as there is room; the line is cut in loopback. */
static void refill(struct serial *s)
{
	while (s->queue_len && s->rx_len < rx_capacity(s) && !(s->mcr & MCR_LOOP)) {
		receive(s, s->queue[s->queue_at]);
		s->queue_at = (s->queue_at + 1) % SERIAL_QUEUE_BYTES;
		s->queue_len--;
	}
}

static void transmit(struct serial *s, const uint8_t *data, unsigned int count)
{
	if (s->mcr & MCR_LOOP) {
		for (unsigned int i = 0; i < count; i++)
			receive(s, data[i]);
	} else {
		s->sink.write(s->sink.opaque, data, count);
	}
	s->thre_pending = true;
}

static uint8_t read_data(struct serial *s)
{
	uint8_t byte = s->rx[s->rx_at];

	if (!s->rx_len)
		return 0;
	s->rx_at = (s->rx_at + 1) % FIFO_BYTES;
	s->rx_len--;
	refill(s);
	return byte;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t id = pending(s);

	if (id == IIR_THRE)
		s->thre_pending = false;
	return id | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = LSR_THRE | LSR_TEMT | s->lsr_errors | (s->rx_len ? LSR_DR : 0);

	s->lsr_errors = 0;
	return v;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t v = msr_lines(s->mcr) | s->msr_deltas;

	s->msr_deltas = 0;
	return v;
}

static uint8_t read_reg(struct serial *s, enum reg reg)
{
	switch (reg) {
	case REG_DATA:
		return s->lcr & LCR_DLAB ? s->dll : read_data(s);
	case REG_IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case REG_IIR_FCR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		return read_msr(s);
	case REG_SCR:
		return s->scr;
	case REG_COUNT:
		break;
	}
	return 0xff;
}

static void write_ier(struct serial *s, uint8_t v)
{
	v &= IER_MASK;
	/* Switching the interrupt on while THR is empty raises it, which drivers probe for. */
	if ((v & IER_THRE) && !(s->ier & IER_THRE))
		s->thre_pending = true;
	s->ier = v;
}

static void write_fcr(struct serial *s, uint8_t v)
{
	bool toggled = (v ^ s->fcr) & FCR_ENABLE;

	if (toggled || (v & FCR_CLEAR_RX)) {
		s->rx_len = 0;
		s->rx_at = 0;
	}
	/* The other bits count only together with the enable bit. */
	s->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	refill(s);
}

static void write_mcr(struct serial *s, uint8_t v)
{
	uint8_t before = msr_lines(s->mcr);
	uint8_t changed, now;

	s->mcr = v & MCR_MASK;
	now = msr_lines(s->mcr);
	changed = (before ^ now) >> 4;
	/* RI counts at its trailing edge alone. */
	if (now & MSR_RI)
		changed &= (uint8_t)~MSR_TERI;
	s->msr_deltas |= changed;
	refill(s);
}

static void write_reg(struct serial *s, enum reg reg, uint8_t v)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = v;
		else
			transmit(s, &v, 1);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->dlm = v;
		else
			write_ier(s, v);
		break;
	case REG_IIR_FCR:
		write_fcr(s, v);
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		write_mcr(s, v);
		break;
	case REG_SCR:
		s->scr = v;
		break;
	case REG_LSR: /* factory test */
	case REG_MSR:
	case REG_COUNT:
		break;
	}
}

/* Drops the lock; then says that there is room again, once, if serial_input turned bytes away: the callee may call serial_input. */
static void unlock_and_notify(struct serial *s)
{
	bool notify = s->input_refused && s->queue_len < SERIAL_QUEUE_BYTES;

	if (notify)
		s->input_refused = false;
	pthread_mutex_unlock(&s->lock);
	if (notify && s->sink.input_ready)
		s->sink.input_ready(s->sink.opaque);
}

/* An 8-bit device: wider accesses become byte accesses to consecutive registers, as on the ISA bus. */
static uint64_t serial_read(void *dev, uint64_t offset, unsigned int size_bytes)
{
	struct serial *s = dev;
	uint64_t v = 0;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < size_bytes; i++) {
		uint64_t byte = offset + i < REG_COUNT ? read_reg(s, (enum reg)(offset + i)) : 0xff;

		v |= byte << (8 * i);
	}
	update_irq(s);
	unlock_and_notify(s);
	return v;
}

static void serial_write(void *dev, uint64_t offset, unsigned int size_bytes, uint64_t value)
{
	struct serial *s = dev;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < size_bytes && offset + i < REG_COUNT; i++)
		write_reg(s, (enum reg)(offset + i), (uint8_t)(value >> (8 * i)));
	update_irq(s);
	unlock_and_notify(s);
}

static void serial_write_bytes(void *dev, uint64_t offset, const uint8_t *data, unsigned int count)
{
	struct serial *s = dev;

	pthread_mutex_lock(&s->lock);
	if (offset == REG_DATA && !(s->lcr & LCR_DLAB)) {
		transmit(s, data, count);
	} else if (offset < REG_COUNT) {
		for (unsigned int i = 0; i < count; i++)
			write_reg(s, (enum reg)offset, data[i]);
	}
	update_irq(s);
	unlock_and_notify(s);
}

const struct bus_ops serial_bus_ops = {
	.read = serial_read,
	.write = serial_write,
	.write_bytes = serial_write_bytes,
};

size_t serial_input(struct serial *s, const uint8_t *data, size_t len_bytes)
{
	size_t taken = 0;

	pthread_mutex_lock(&s->lock);
	for (; taken < len_bytes; taken++) {
		if (s->queue_len == SERIAL_QUEUE_BYTES)
			refill(s);
		if (s->queue_len == SERIAL_QUEUE_BYTES)
			break;
		s->queue[(s->queue_at + s->queue_len) % SERIAL_QUEUE_BYTES] = data[taken];
		s->queue_len++;
	}
	refill(s);
	s->input_refused = taken < len_bytes;
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return taken;
}

int serial_create(const struct irq_pin *irq, const struct serial_sink *sink, struct serial **ret,
		  struct err *err)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(err, -ENOMEM, "serial port: out of memory");
	pthread_mutex_init(&s->lock, NULL);
	s->irq = *irq;
	s->sink = *sink;
	s->dll = 12; /* 9600 baud of a 1.8432 MHz crystal; the data sheet leaves it undefined */
	*ret = s;
	return 0;
}

void serial_destroy(struct serial *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* state.md, section "serial". */
struct serial_image {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t lsr_errors;
	uint8_t msr_deltas;
	uint8_t thre_pending;
	uint32_t rx_len;
	uint8_t rx[FIFO_BYTES];
	uint32_t queue_len;
	uint8_t queue[SERIAL_QUEUE_BYTES];
};

static const struct state_field serial_fields[] = {
	STATE_FIELD_U8(struct serial_image, ier),
	STATE_FIELD_U8(struct serial_image, fcr),
	STATE_FIELD_U8(struct serial_image, lcr),
	STATE_FIELD_U8(struct serial_image, mcr),
	STATE_FIELD_U8(struct serial_image, scr),
	STATE_FIELD_U8(struct serial_image, dll),
	STATE_FIELD_U8(struct serial_image, dlm),
	STATE_FIELD_U8(struct serial_image, lsr_errors),
	STATE_FIELD_U8(struct serial_image, msr_deltas),
	STATE_FIELD_U8(struct serial_image, thre_pending),
	STATE_FIELD_VBYTES(struct serial_image, rx, rx_len),
	STATE_FIELD_VBYTES(struct serial_image, queue, queue_len),
};

static int serial_capture(void *dev, void *image, struct err *err)
{
	struct serial *s = dev;
	struct serial_image *img = image;

	pthread_mutex_lock(&s->lock);
	img->ier = s->ier;
	img->fcr = s->fcr;
	img->lcr = s->lcr;
	img->mcr = s->mcr;
	img->scr = s->scr;
	img->dll = s->dll;
	img->dlm = s->dlm;
	img->lsr_errors = s->lsr_errors;
	img->msr_deltas = s->msr_deltas;
	img->thre_pending = s->thre_pending;
	img->rx_len = s->rx_len;
	for (unsigned int i = 0; i < s->rx_len; i++)
		img->rx[i] = s->rx[(s->rx_at + i) % FIFO_BYTES];
	img->queue_len = s->queue_len;
	for (unsigned int i = 0; i < s->queue_len; i++)
		img->queue[i] = s->queue[(s->queue_at + i) % SERIAL_QUEUE_BYTES];
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int serial_check(const void *image, struct err *err)
{
	const struct serial_image *img = image;

	if (img->ier & ~IER_MASK)
		return err_set(err, -EBADMSG, "ier 0x%02x", img->ier);
	if ((img->fcr & ~FCR_KEPT) || (img->fcr && !(img->fcr & FCR_ENABLE)))
		return err_set(err, -EBADMSG, "fcr 0x%02x", img->fcr);
	if (img->mcr & ~MCR_MASK)
		return err_set(err, -EBADMSG, "mcr 0x%02x", img->mcr);
	if (img->lsr_errors & ~LSR_ERRORS)
		return err_set(err, -EBADMSG, "lsr_errors 0x%02x", img->lsr_errors);
	if (img->msr_deltas & ~MSR_DELTAS)
		return err_set(err, -EBADMSG, "msr_deltas 0x%02x", img->msr_deltas);
	if (img->thre_pending > 1)
		return err_set(err, -EBADMSG, "thre_pending %u", img->thre_pending);
	if (!(img->fcr & FCR_ENABLE) && img->rx_len > 1)
		return err_set(err, -EBADMSG, "%u bytes received without a FIFO", img->rx_len);
	return 0;
}

static int serial_apply(void *dev, const void *image, struct err *err)
{
	struct serial *s = dev;
	const struct serial_image *img = image;

	pthread_mutex_lock(&s->lock);
	s->ier = img->ier;
	s->fcr = img->fcr;
	s->lcr = img->lcr;
	s->mcr = img->mcr;
	s->scr = img->scr;
	s->dll = img->dll;
	s->dlm = img->dlm;
	s->lsr_errors = img->lsr_errors;
	s->msr_deltas = img->msr_deltas;
	s->thre_pending = img->thre_pending;
	s->rx_at = 0;
	s->rx_len = img->rx_len;
	memcpy(s->rx, img->rx, sizeof(s->rx));
	s->queue_at = 0;
	s->queue_len = img->queue_len;
	memcpy(s->queue, img->queue, sizeof(s->queue));
	/* The pin's level is not part of the interrupt controller's state: it is driven anew whatever it was. */
	s->level = pending(s) != IIR_NONE;
	s->irq.set(s->irq.opaque, s->irq.gsi, s->level);
	unlock_and_notify(s);
	return 0;
}

const struct state_desc serial_state =
	STATE_DESC_("serial", struct serial_image, serial_fields, serial, serial_check);
