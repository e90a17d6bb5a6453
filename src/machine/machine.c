/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "internal.h"
#include "io/loop.h"
#include "migration/transport.h"
#include "vmm/arch.h"
#include "vmm/caps.h"

static void on_serial_out(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct machine *m = opaque;

	tty_write(m->tty, data, len_bytes);
}

static void on_serial_ready(void *opaque)
{
	struct machine *m = opaque;

	tty_input_ready(m->tty);
}

static size_t on_tty_in(void *opaque, const uint8_t *data, size_t len_bytes)
{
	struct machine *m = opaque;
	size_t n = 0;

	pthread_mutex_lock(&m->input_lock);
	if (m->input_open)
		n = serial_input(m->serial, data, len_bytes);
	pthread_mutex_unlock(&m->input_lock);
	return n;
}

void machine_open_input(struct machine *m, bool open)
{
	pthread_mutex_lock(&m->input_lock);
	m->input_open = open;
	pthread_mutex_unlock(&m->input_lock);
	if (!open)
		return;
	tty_input_ready(m->tty);
	machine_tick_rtc(m);
}

static int build_devices(struct machine *m, struct err *err)
{
	const struct tty_input input = { .bytes = on_tty_in, .opaque = m };
	const struct serial_sink serial_sink = { .write = on_serial_out,
						 .input_ready = on_serial_ready,
						 .opaque = m };
	const struct irq_pin serial_irq = { .set = machine_irq,
					    .opaque = m,
					    .gsi = arch_platform.serial_gsi };
	const struct irq_pin rtc_irq = { .set = machine_irq,
					 .opaque = m,
					 .gsi = arch_platform.rtc_gsi };
	struct bus *bus = arch_platform.mmio ? &m->mmio : &m->pio;
	int rc;

	rc = serial_create(&serial_irq, &serial_sink, &m->serial, err);
	if (!rc)
		rc = tty_create(m->config.console, m->loop, &input, &m->tty, err);
	if (!rc)
		rc = bus_add(bus, arch_platform.serial_base, 8, &serial_bus_ops, m->serial, err);
	if (!rc)
		rc = machine_build_power(m, bus, err);
	if (!rc && arch_platform.rtc_base)
		rc = machine_build_rtc(m, &rtc_irq, bus, err);
	if (!rc)
		tty_set_quit(m->tty, machine_note_quit, m);
	return rc;
}

static char *copy_string(struct machine *m, unsigned int slot, const char *s)
{
	m->strings[slot] = s ? strdup(s) : NULL;
	return m->strings[slot];
}

/* Nothing for a VM without any. */
static int copy_devices(struct machine *m, const struct machine_devices *devices)
{
	if (!devices || !devices->n)
		return 0;
	m->asked_devices = calloc(1, sizeof(*m->asked_devices));
	if (!m->asked_devices)
		return -ENOMEM;
	m->asked_devices->mmio = devices->mmio;
	m->asked_devices->n = devices->n;
	memcpy(m->asked_devices->dev, devices->dev, devices->n * sizeof(devices->dev[0]));
	return 0;
}

static void copy_config(struct machine *m, const struct machine_config *config)
{
	m->config = *config;
	m->config.kernel_path = copy_string(m, 0, config->kernel_path);
	m->config.initrd_path = copy_string(m, 1, config->initrd_path);
	m->config.cmdline = copy_string(m, 2, config->cmdline ? config->cmdline : "");
	m->config.console = copy_string(m, 3, config->console ? config->console : "stdio");
	m->config.pin = copy_string(m, 4, config->pin);
	m->config.record = copy_string(m, 5, config->record);
	m->config.devices = m->asked_devices;
	m->user_paused = config->paused;
	snprintf(m->kernel_name, sizeof(m->kernel_name), "%s",
		 config->kernel_path ? config->kernel_path : "built-in guest");
}

static int machine_alloc(const struct machine_config *config, struct loop *loop,
			 struct machine **ret, struct err *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	int rc;

	if (!m || copy_devices(m, config->devices)) {
		free(m);
		return err_set(err, -ENOMEM, "no memory for a machine");
	}
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->mig_resumed, NULL);
	pthread_cond_init(&m->rate_wake, NULL);
	pthread_mutex_init(&m->input_lock, NULL);
	m->loop = loop;
	m->end_fd = m->guest_fd = m->peer_cancel_fd = m->record_fd = m->rtc_fd = -1;
	m->created_ns = clock_mono_ns();
	m->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->guest_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->peer_cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	copy_config(m, config);
	if (m->end_fd < 0 || m->guest_fd < 0 || m->peer_cancel_fd < 0)
		rc = err_sys(err, -errno, "eventfd");
	else if (!m->config.console || !m->config.cmdline)
		rc = err_set(err, -ENOMEM, "no memory for a machine");
	else
		rc = loop_add(loop, m->guest_fd, EPOLLIN, machine_on_guest_end, m);
	if (!rc)
		rc = build_devices(m, err);
	if (rc) {
		machine_destroy(m);
		return rc;
	}
	*ret = m;
	return 0;
}

int machine_create(const struct machine_config *config, struct loop *loop, struct machine **ret,
		   struct err *err)
{
	struct machine *m;
	int rc = machine_config_check(config, err);

	if (rc)
		return rc;
	rc = machine_alloc(config, loop, &m, err);
	if (rc)
		return rc;
	m->state = MACHINE_PAUSED;
	rc = machine_build_vm(m, NULL, NULL, err);
	if (!rc)
		rc = machine_boot(m, err);
	if (rc) {
		machine_destroy(m);
		return rc;
	}
	machine_open_input(m, true);
	*ret = m;
	return 0;
}

/* The file is there, and writable, before anybody is told to send. */
static int open_record(struct machine *m, struct err *err)
{
	if (!m->config.record)
		return 0;
	m->record_fd = open(m->config.record, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return m->record_fd < 0 ? err_sys(err, -errno, "--record %s", m->config.record) : 0;
}

int machine_create_receiver(const struct machine_config *config, const char *listen,
			    struct loop *loop, struct machine **ret, struct err *err)
{
	struct dirty_accel accel;
	struct machine *m;
	int rc = caps_dirty_accel(-1, config->dirty, config->dirty_accel, &accel, err);

	if (!rc) /* hardware that is missing is told now, not when the VM has arrived */
		rc = machine_alloc(config, loop, &m, err);
	if (rc)
		return rc;
	m->state = MACHINE_RECEIVING;
	rc = open_record(m, err);
	if (!rc)
		rc = tcp_listen(listen, &m->listener, err);
	if (rc) {
		machine_destroy(m);
		return rc;
	}
	snprintf(m->listen, sizeof(m->listen), "%s", tcp_listener_address(m->listener));
	*ret = m;
	return 0;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	atomic_store(&m->cancel, true);
	if (m->peer_cancel_fd >= 0)
		(void)eventfd_write(m->peer_cancel_fd, 1);
	pthread_mutex_lock(&m->lock);
	if (m->transport)
		transport_cancel(m->transport);
	machine_end_measurement(m);
	pthread_mutex_unlock(&m->lock);
	if (m->thread_valid)
		pthread_join(m->thread, NULL);
	machine_drop_vm(
		m); /* vCPU threads end here: nothing uses the devices on the buses any more */
	tty_destroy(m->tty);
	serial_destroy(m->serial);
	machine_destroy_power(m);
	machine_destroy_rtc(m);
	tcp_listener_destroy(m->listener);
	if (m->guest_fd >= 0)
		loop_del(m->loop, m->guest_fd);
	fd_close(&m->guest_fd);
	fd_close(&m->end_fd);
	fd_close(&m->peer_cancel_fd);
	fd_close(&m->record_fd);
	for (unsigned int i = 0; i < ARRAY_LEN(m->strings); i++)
		free(m->strings[i]);
	free(m->asked_devices);
	pthread_mutex_destroy(&m->input_lock);
	pthread_cond_destroy(&m->rate_wake);
	pthread_cond_destroy(&m->mig_resumed);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

void machine_set_sink(struct machine *m, const struct machine_sink *sink)
{
	m->sink = *sink;
}

int machine_start(struct machine *m, struct err *err)
{
	int rc = 0;

	if (m->state == MACHINE_RECEIVING) {
		rc = pthread_create(&m->thread, NULL, machine_receive_thread, m);
		m->thread_valid = !rc;
		return rc ? err_sys(err, -rc, "starting the receiving thread") : 0;
	}
	if (m->config.paused)
		return 0;
	return machine_resume(m, false, err);
}

static void tell_tracking(const struct dirty *d, struct machine_info *ret)
{
	ret->dirty_backend = d->ops->name;
	memcpy(ret->dirty_reason, d->reason, sizeof(ret->dirty_reason));
	ret->dirty_accel = d->accel.name;
	memcpy(ret->dirty_accel_reason, d->accel.reason, sizeof(ret->dirty_accel_reason));
}

void machine_get_info(struct machine *m, struct machine_info *ret)
{
	const char *pty = m->tty ? tty_path(m->tty) : NULL;

	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&m->lock);
	memcpy(ret->name, m->config.name, sizeof(ret->name));
	ret->state = m->state;
	ret->migrating = m->migrating;
	ret->measuring = m->measuring;
	ret->ncpus = m->vm ? m->config.ncpus : 0;
	ret->ram_bytes = m->vm ? m->config.ram_bytes : 0;
	ret->pid = getpid();
	ret->uptime_ns = clock_mono_ns() - m->created_ns;
	ret->kernel = m->kernel_name;
	ret->console = pty ? pty : m->config.console;
	ret->dirty_asked = dirty_kind_name(m->config.dirty);
	ret->dirty_accel_asked = dirty_accel_mode_name(m->config.dirty_accel.mode);
	if (m->vm)
		tell_tracking(vm_dirty(m->vm), ret);
	if (m->state == MACHINE_RECEIVING)
		memcpy(ret->listen, m->listen, sizeof(ret->listen));
	memcpy(ret->stop_reason, m->stop_reason, sizeof(ret->stop_reason));
	pthread_mutex_unlock(&m->lock);
}

int machine_counters(struct machine *m, void (*fn)(void *opaque, const char *name, uint64_t value),
		     void *opaque, struct err *err)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = m->vm ? vm_counters(m->vm, fn, opaque, err) :
		     err_set(err, -EBUSY, "no VM has arrived yet");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_vcpu_counters(struct machine *m, unsigned int index,
			  void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque,
			  struct err *err)
{
	int rc;

	pthread_mutex_lock(&m->lock);
	rc = m->vm ? vm_vcpu_counters(m->vm, index, fn, opaque, err) :
		     err_set(err, -EBUSY, "no VM has arrived yet");
	pthread_mutex_unlock(&m->lock);
	return rc;
}

int machine_end_fd(struct machine *m)
{
	return m->end_fd;
}

int machine_exit_status(struct machine *m)
{
	return m->exit_status;
}

bool machine_wants_reboot(struct machine *m)
{
	return m->wants_reboot;
}
