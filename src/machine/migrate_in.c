/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "internal.h"

/* The source's configuration becomes this machine's, but for name, console, dirty backend and pinning, which are this side's own. */
static void adopt(struct machine *m, const struct machine_section *s)
{
	m->config.ncpus = s->ncpus;
	m->config.ram_bytes = s->ram_bytes;
	m->config.backing = (enum gmem_backing)s->backing;
	m->config.hugepage_bytes = s->hugepage_bytes;
	m->user_paused = s->paused;
	snprintf(m->kernel_name, sizeof(m->kernel_name), "%s", (const char *)s->kernel_name);
	if (!m->config.kernel_path && strcmp(m->kernel_name, "built-in guest") != 0)
		m->config.kernel_path = m->strings[0] = strdup(m->kernel_name);
}

static int check_layout(struct machine *m, const struct machine_section *s, struct err *err)
{
	const struct gmem *mem = vm_mem(m->vm);

	if (mem->nregions != s->nregions)
		return err_set(err, -EOPNOTSUPP,
			       "source lays its memory out in %u regions, this vmm in %u",
			       s->nregions, mem->nregions);
	for (unsigned int i = 0; i < mem->nregions; i++)
		if (mem->region[i].gpa != s->region_gpa[i] ||
		    mem->region[i].len_bytes != s->region_bytes[i])
			return err_set(
				err, -EOPNOTSUPP,
				"memory region %u: source has %#llx bytes at %#llx, this vmm %#llx at %#llx",
				i, (unsigned long long)s->region_bytes[i],
				(unsigned long long)s->region_gpa[i],
				(unsigned long long)mem->region[i].len_bytes,
				(unsigned long long)mem->region[i].gpa);
	return 0;
}

/* Save and load the fresh VM's own state once: its duration is part of the source's prediction, and a host that cannot restore shows before any
 * memory moved. */
static int trial_restore(struct machine *m, uint64_t *ret_ns, struct err *err)
{
	struct buf state = { 0 };
	uint64_t t0;
	int rc = state_save_all(m->entries, m->nentries, &state, err);

	t0 = clock_mono_ns();
	if (!rc)
		rc = state_load_all(m->entries, m->nentries, state.data, state.len_bytes, err);
	*ret_ns = clock_mono_ns() - t0;
	buf_fini(&state);
	return rc ? err_prefix(err, "trial restore") : 0;
}

static int build(struct machine *m, const struct machine_section *section,
		 const struct buf *cpu_model, struct device_sections *devices,
		 uint64_t *ret_restore_ns, struct err *err)
{
	int rc;

	adopt(m, section);
	rc = machine_devices_map(&devices->devices, m->config.devices, m->config.mapped_only, err);
	if (!rc)
		rc = machine_config_check(&m->config, err);
	if (!rc)
		rc = machine_build_vm(m, cpu_model, devices, err);
	if (!rc)
		rc = check_layout(m, section, err);
	if (!rc)
		rc = trial_restore(m, ret_restore_ns, err);
	if (rc)
		machine_drop_vm(m);
	return rc;
}

/* The sections of CONFIG in their order: the machine, its devices, the CPU model, which stays as it is. */
struct incoming {
	struct machine_section machine;
	struct device_sections devices;
	struct buf cpu_model;
};

static int take_config(const void *config, size_t len_bytes, struct incoming *ret, struct err *err)
{
	struct reader in = reader_over(config, len_bytes);
	struct state_section section;
	int rc = state_next_section(&in, &section, err);

	if (rc == -ENODATA)
		rc = err_set(err, -EBADMSG, "CONFIG is empty");
	if (!rc)
		rc = state_decode(&machine_section_desc, &section, &ret->machine, err);
	if (!rc)
		rc = device_sections_decode(&in, &ret->devices, err);
	/* Ahead of all that differs between architectures, such as where memory is. */
	if (!rc)
		rc = vm_check_origin(in.pos, reader_left(&in), err);
	if (rc)
		return rc;
	buf_put(&ret->cpu_model, in.pos, reader_left(&in));
	return buf_ok(&ret->cpu_model) ? 0 : err_set(err, -ENOMEM, "no memory for the CPU model");
}

static int destination_prepare(void *host, const void *config, size_t len_bytes,
			       struct gmem **ret_mem, uint64_t *ret_restore_ns, struct err *err)
{
	struct machine *m = host;
	struct incoming *in = calloc(1, sizeof(*in));
	int rc;

	if (!in)
		return err_set(err, -ENOMEM, "no memory for the configuration");
	rc = take_config(config, len_bytes, in, err);
	if (!rc) {
		pthread_mutex_lock(&m->lock);
		rc = build(m, &in->machine, &in->cpu_model, &in->devices, ret_restore_ns, err);
		pthread_mutex_unlock(&m->lock);
	}
	buf_fini(&in->cpu_model);
	free(in);
	if (!rc)
		*ret_mem = vm_mem(m->vm);
	return rc;
}

static int destination_load(void *host, const void *state, size_t len_bytes, uint64_t pause_real_ns,
			    struct err *err)
{
	struct machine *m = host;
	int rc;

	(void)pause_real_ns; /* the clock sections carry their own time */
	/* All devices' interrupt messages in one go: each would cost a grace period in KVM, and the guest stands still. */
	vm_msi_begin(m->vm);
	rc = state_load_all(m->entries, m->nentries, state, len_bytes, err);
	if (!rc)
		rc = vm_msi_end(m->vm, err);
	pthread_mutex_lock(&m->lock);
	m->loaded = !rc;
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int destination_start(void *host, struct err *err)
{
	struct machine *m = host;
	/* The source has let go of what only one host may have. Without the lock: opening a disk may take its time, and nobody else touches the devices before the VM runs. */
	int rc = device_set_take(m->devices, err);

	pthread_mutex_lock(&m->lock);
	if (!rc && atomic_load(&m->cancel))
		rc = err_set(err, -ECANCELED, "the destination was told to stop");
	if (!rc && !m->user_paused)
		rc = machine_go(m, err);
	if (!rc) {
		m->state = m->user_paused ? MACHINE_PAUSED : MACHINE_RUNNING;
		machine_open_input(m, true);
	}
	pthread_mutex_unlock(&m->lock);
	if (!rc)
		device_set_arrived(m->devices);
	else /* before the source hears of it, who wants it all back */
		(void)device_set_release(m->devices, NULL);
	return rc;
}

static const struct mig_destination_ops destination_ops = {
	.prepare = destination_prepare,
	.load = destination_load,
	.start = destination_start,
};

/* One connection, from its acceptance to the end of whatever it was. */
static int take_connection(struct machine *m, struct mig_receive_report *report, struct err *err)
{
	struct transport *t;
	int rc = tcp_accept(m->listener, m->peer_cancel_fd, &t, err);

	if (rc) {
		report->met_source = true;
		return rc;
	}
	t->record_fd = m->record_fd;
	pthread_mutex_lock(&m->lock);
	m->transport = t;
	if (atomic_load(&m->cancel)) /* while it was being accepted */
		transport_cancel(t);
	pthread_mutex_unlock(&m->lock);
	rc = mig_receive(t, &destination_ops, m, report, err);
	pthread_mutex_lock(&m->lock);
	m->transport = NULL;
	pthread_mutex_unlock(&m->lock);
	transport_destroy(t);
	return rc;
}

/* A recording begins with the source's first byte. */
static int forget_recording(const struct machine *m, struct err *err)
{
	if (m->record_fd < 0)
		return 0;
	if (ftruncate(m->record_fd, 0) || lseek(m->record_fd, 0, SEEK_SET) < 0)
		return err_sys(err, -errno, "--record %s", m->config.record);
	return 0;
}

static int take_vm(struct machine *m, struct mig_receive_report *report, struct err *err)
{
	int rc;

	/* A port scanner or a monitor that looks whether the port is open must not use up the destination that somebody prepared. */
	while ((rc = take_connection(m, report, err)) && !report->met_source &&
	       !atomic_load(&m->cancel)) {
		char text[sizeof(err->msg) + 40];

		snprintf(text, sizeof(text), "still waiting: not a source: %s", err->msg);
		machine_emit_state(m, MACHINE_RECEIVING, text);
		rc = forget_recording(m, err);
		if (rc)
			break;
	}
	pthread_mutex_lock(&m->lock);
	tcp_listener_destroy(
		m->listener); /* one VM a process: the port is free again as soon as it is here */
	m->listener = NULL;
	pthread_mutex_unlock(&m->lock);
	return rc;
}

void *machine_receive_thread(void *opaque)
{
	struct machine *m = opaque;
	struct mig_receive_report report;
	struct err err = { 0 };
	int rc;

	pthread_setname_np(pthread_self(), "receive");
	rc = take_vm(m, &report, &err);
	if (!rc) {
		machine_emit_state(m, m->user_paused ? MACHINE_PAUSED : MACHINE_RUNNING,
				   "received");
	} else if (m->stop_after) {
		machine_migration_thread_ended(m);
	} else {
		machine_end(m, MACHINE_STOPPED, 1, "not received: %s", err.msg);
	}
	return NULL;
}
