/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console (virtio 1.2 §5.3): ports between the guest and terminals of the host. One console alone goes without the control queues, which a driver then need not have, and has the size of its screen
 * in the configuration; names and further ports need them (MULTIPORT).
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "console.h"

#define QUEUE_SIZE 128u
#define PCI_CLASS_OTHER_COMM 0x078000u
/* A driver sends pages. More in a request is refused, more in a turn has to wait. */
#define MAX_OUTPUT_BYTES (1u << 20)
#define CHUNK_BYTES 4096u

enum { CONFIG_COLS = 0, CONFIG_PORTS = 4, CONFIG_EMERG = 8, CONFIG_BYTES = 12 };

static unsigned int rx_queue(unsigned int port)
{
	return port ? 2 * port + 2 : 0;
}

static bool has_control(const struct console *c)
{
	return virtio_has(&c->v, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* A console's driver reads as soon as it is there; on a port that nobody has open in the guest input would be lost. */
static bool takes_input(const struct console_port_state *p)
{
	return virtio_serving(&p->c->v) && (has_control(p->c) ? p->open : p->index == 0);
}

/* From the terminal, on the worker. What does not fit into the guest's buffers is kept there until the queue is served again. */
static size_t on_input(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct console_port_state *p = opaque;
	struct console *c = p->c;
	struct virtio_queue *q = &c->v.queue[rx_queue(p->index)];
	struct err err = { 0 };
	size_t taken = 0;
	int rc = 1;

	if (!takes_input(p) || !q->enabled)
		return 0;
	while (taken < len_bytes && (rc = virtq_pop(&q->vq, &c->chain, &err)) > 0) {
		size_t n = virtq_write(&q->vq, &c->chain, 0, data + taken, len_bytes - taken);

		if (!n) {
			rc = err_set(&err, -EBADMSG, "a receive buffer without room");
			break;
		}
		virtq_push(&q->vq, c->chain.head, (uint32_t)n);
		taken += n;
	}
	atomic_fetch_add_explicit(&c->bytes_in, taken, memory_order_relaxed);
	if (taken)
		virtio_signal(&c->v, rx_queue(p->index));
	if (rc < 0)
		virtio_broken(&c->v, &err);
	else if (rc == 0) /* has notifications switched on */
		virtio_again(&c->v, rx_queue(p->index));
	return taken;
}

static void serve_rx(struct console_port_state *p)
{
	struct virtio_queue *q = &p->c->v.queue[rx_queue(p->index)];

	/* With room in the queue it is the terminal that is waited for. */
	q->quiet = virtq_pending(&q->vq) > 0;
	if (q->quiet)
		tty_input_ready(p->tty);
}

static void put_out(struct console_port_state *p, const struct virtq_chain *chain)
{
	uint8_t data[CHUNK_BYTES];
	size_t n;

	for (uint64_t at = 0; (n = virtq_read(chain, at, data, sizeof(data))) > 0; at += n)
		tty_write(p->tty, data, n);
	atomic_fetch_add_explicit(&p->c->bytes_out, chain->read_bytes, memory_order_relaxed);
}

static int serve_tx(struct console_port_state *p, unsigned int queue, struct err *err)
{
	struct console *c = p->c;
	struct virtq *q = &c->v.queue[queue].vq;
	uint64_t sent = 0;
	int rc = 0;

	for (unsigned int i = 0; i < q->size && sent < MAX_OUTPUT_BYTES; i++) {
		rc = virtq_pop(q, &c->chain, err);
		if (rc <= 0)
			break;
		if (c->chain.read_bytes > MAX_OUTPUT_BYTES)
			return err_set(err, -EBADMSG, "%llu bytes of output in a request",
				       (unsigned long long)c->chain.read_bytes);
		put_out(p, &c->chain);
		sent += c->chain.read_bytes;
		virtq_push(q, c->chain.head, 0);
	}
	virtio_signal(&c->v, queue);
	if (rc >= 0 && virtq_pending(q))
		virtio_again(&c->v, queue);
	return rc;
}

static void serve(void *self, unsigned int queue)
{
	struct console *c = self;
	struct console_port_state *p = &c->port[queue < 2 ? 0 : queue / 2 - 1];
	struct err err = { 0 };
	int rc = 0;

	if (queue == CONSOLE_CONTROL_RX)
		rc = console_serve_control_rx(c, &err);
	else if (queue == CONSOLE_CONTROL_TX)
		rc = console_serve_control_tx(c, &err);
	else if (queue % 2)
		rc = serve_tx(p, queue, &err);
	else
		serve_rx(p);
	if (rc < 0)
		virtio_broken(&c->v, &err);
}

static void reset(void *self)
{
	struct console *c = self;

	for (unsigned int i = 0; i < c->nports; i++) {
		c->port[i].open = false;
		c->port[i].tell = 0;
	}
}

/* The emergency write (§5.3.4): a character, whatever state the device is in. */
static void config_write(void *self, unsigned int offset, const void *data, unsigned int len_bytes)
{
	struct console *c = self;

	if (offset == CONFIG_EMERG && len_bytes)
		tty_write(c->port[0].tty, data, 1);
}

struct resize {
	struct console *c;
	uint8_t size[4];
};

static void resize_now(void *opaque)
{
	const struct resize *r = opaque;
	struct console *c = r->c;

	memcpy(c->host_size, r->size, sizeof(r->size));
	if (!memcmp(c->size, r->size, sizeof(c->size)))
		return;
	memcpy(c->size, r->size, sizeof(c->size));
	virtio_set_config(&c->v, CONFIG_COLS, c->size, sizeof(c->size));
	if (c->multiport && has_control(c) && c->port[0].open && !c->port[0].name[0])
		console_tell(&c->port[0], CONSOLE_TELL_SIZE);
}

void virtio_console_resize(struct virtio *v, uint16_t cols, uint16_t rows)
{
	struct resize r = { .c = v->self };

	le16_put(r.size, cols);
	le16_put(r.size + 2, rows);
	worker_call(v->worker, resize_now, &r);
}

const char *virtio_console_pty(const struct virtio *v, unsigned int port)
{
	const struct console *c = v->self;

	return port < c->nports ? tty_path(c->port[port].tty) : NULL;
}

/* The screen is this host's now. */
static void arrived(void *self)
{
	struct console *c = self;
	struct resize r = { .c = c };

	memcpy(r.size, c->host_size, sizeof(r.size));
	if (le32_get(r.size))
		resize_now(&r);
}

static void counters(void *self, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque)
{
	struct console *c = self;

	fn(opaque, "bytes_in", atomic_load(&c->bytes_in));
	fn(opaque, "bytes_out", atomic_load(&c->bytes_out));
}

/* Their descriptors are in the worker's loop. */
static void stop(void *self)
{
	struct console *c = self;

	for (unsigned int i = 0; i < c->nports; i++) {
		tty_destroy(c->port[i].tty);
		c->port[i].tty = NULL;
	}
}

/* state.md, section "console". */
struct console_image {
	uint8_t open[VIRTIO_CONSOLE_MAX_PORTS];
	uint8_t tell[VIRTIO_CONSOLE_MAX_PORTS];
	uint16_t cols, rows;
};

static const struct state_field console_fields[] = {
	STATE_FIELD_U8(struct console_image, open),
	STATE_FIELD_U8(struct console_image, tell),
	STATE_FIELD_(struct console_image, cols, STATE_U16, 1),
	STATE_FIELD_(struct console_image, rows, STATE_U16, 1),
};

static int console_capture(void *dev, void *image, struct err *err)
{
	const struct console *c = dev;
	struct console_image *img = image;

	for (unsigned int i = 0; i < c->nports; i++) {
		img->open[i] = c->port[i].open;
		img->tell[i] = c->port[i].tell;
	}
	img->cols = le16_get(c->size);
	img->rows = le16_get(c->size + 2);
	return 0;
}

static int console_check(const void *image, struct err *err)
{
	const struct console_image *img = image;

	for (unsigned int i = 0; i < VIRTIO_CONSOLE_MAX_PORTS; i++) {
		if (img->open[i] > 1)
			return err_set(err, -EBADMSG, "open %u of port %u", img->open[i], i);
		if (img->tell[i] & ~CONSOLE_TELL_ALL)
			return err_set(err, -EBADMSG, "tell %#x of port %u", img->tell[i], i);
	}
	return 0;
}

static int console_apply(void *dev, const void *image, struct err *err)
{
	struct console *c = dev;
	const struct console_image *img = image;

	for (unsigned int i = c->multiport ? c->nports : 0; i < VIRTIO_CONSOLE_MAX_PORTS; i++)
		if (img->open[i] || img->tell[i])
			return err_set(err, -EBADMSG, "open or tell of port %u, which there is not",
				       i);
	for (unsigned int i = 0; i < c->nports; i++) {
		c->port[i].open = img->open[i];
		c->port[i].tell = img->tell[i];
	}
	le16_put(c->size, img->cols);
	le16_put(c->size + 2, img->rows);
	pthread_mutex_lock(&c->v.lock);
	memcpy(c->v.config + CONFIG_COLS, c->size, sizeof(c->size));
	pthread_mutex_unlock(&c->v.lock);
	return 0;
}

static const struct state_desc console_state =
	STATE_DESC_("console", struct console_image, console_fields, console, console_check);

static const struct virtio_type type = {
	.kind = "console",
	.device_id = VIRTIO_ID_CONSOLE,
	.pci_class = PCI_CLASS_OTHER_COMM,
	.serve = serve,
	.reset = reset,
	.config_write = config_write,
	.arrived = arrived,
	.counters = counters,
	.stop = stop,
	.destroy = free,
	.state = &console_state,
};

static int copy_ports(struct console *c, const struct console_config *config, struct err *err)
{
	if (!config->nports || config->nports > VIRTIO_CONSOLE_MAX_PORTS)
		return err_set(err, -EINVAL, "--virtio-console: %u ports, 1 to %u are possible",
			       config->nports, VIRTIO_CONSOLE_MAX_PORTS);
	for (unsigned int i = 0; i < config->nports; i++) {
		const char *name = config->port[i].name;

		if (name && strlen(name) > CONSOLE_NAME_MAX)
			return err_set(err, -EINVAL,
				       "--virtio-console %s: name: more than %u characters",
				       config->port[i].spec, CONSOLE_NAME_MAX);
		c->port[i] = (struct console_port_state){ .c = c, .index = i };
		snprintf(c->port[i].name, sizeof(c->port[i].name), "%s", name ? name : "");
		c->multiport |= i > 0 || name;
	}
	c->nports = config->nports;
	return 0;
}

struct open_call {
	struct console *c;
	const struct console_config *config;
	struct err *err;
	int rc;
};

/* A pty's. */
static void on_resized(void *opaque, uint16_t cols, uint16_t rows)
{
	const struct console_port_state *p = opaque;

	if (p->index == 0)
		virtio_console_resize(&p->c->v, cols, rows);
}

static void open_now(void *opaque)
{
	struct open_call *o = opaque;

	for (unsigned int i = 0; i < o->c->nports && !o->rc; i++) {
		struct console_port_state *p = &o->c->port[i];
		const struct tty_input input = { .bytes = on_input,
						 .resized = on_resized,
						 .opaque = p };

		o->rc = tty_create(o->config->port[i].spec, worker_loop(o->c->v.worker), &input,
				   &p->tty, o->err);
		if (!o->rc)
			tty_set_quit(p->tty, o->config->quit, o->config->quit_opaque);
	}
}

/* The terminal that the program itself was started on. */
static void ask_size(struct console *c, const struct console_config *config)
{
	struct winsize w;

	if (strcmp(config->port[0].spec, "stdio") != 0 || ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0)
		return;
	le16_put(c->host_size, w.ws_col);
	le16_put(c->host_size + 2, w.ws_row);
}

int virtio_console_create(const struct virtio_common *common, const struct console_config *config,
			  struct virtio **ret, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));
	struct open_call o = { .c = c, .config = config, .err = err };
	uint8_t bytes[CONFIG_BYTES] = { 0 };
	uint64_t features = 1ULL << VIRTIO_CONSOLE_F_SIZE | 1ULL << VIRTIO_CONSOLE_F_EMERG_WRITE;
	int rc;

	if (!c)
		return err_set(err, -ENOMEM, "--virtio-console: out of memory");
	rc = copy_ports(c, config, err);
	if (!rc) {
		ask_size(c, config);
		memcpy(c->size, c->host_size, sizeof(c->size));
		memcpy(bytes + CONFIG_COLS, c->size, sizeof(c->size));
		le32_put(bytes + CONFIG_PORTS, c->nports);
		features |= (uint64_t)c->multiport << VIRTIO_CONSOLE_F_MULTIPORT;
		rc = virtio_init(
			&c->v, common,
			&(struct virtio_init){ .type = &type,
					       .self = c,
					       .features = features,
					       .nqueues = c->multiport ? 2 * c->nports + 2 : 2,
					       .queue_size = QUEUE_SIZE,
					       .config = bytes,
					       .config_bytes = sizeof(bytes) },
			err);
	}
	if (rc) {
		free(c);
		return rc;
	}
	worker_call(c->v.worker, open_now, &o);
	if (o.rc) {
		err_prefix(err, "--virtio-console");
		virtio_destroy(&c->v);
		return o.rc;
	}
	*ret = &c->v;
	return 0;
}
