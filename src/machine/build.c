/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/num.h"
#include "builtin_guest.h"
#include "device_set.h"
#include "internal.h"
#include "vmm/arch.h"

/* The VM itself and its virtio devices, made once it is known what they shall be; what vCPUs hand to us; the table of all that moves. */

/* vCPU threads: accesses that KVM hands to us. */
static void on_pio(void *opaque, uint16_t port, bool is_write, void *data, unsigned int size_bytes,
		   unsigned int count)
{
	struct machine *m = opaque;

	bus_access_string(&m->pio, port, is_write, data, size_bytes, count);
}

static void on_mmio(void *opaque, uint64_t gpa, bool is_write, void *data, unsigned int len_bytes)
{
	struct machine *m = opaque;

	bus_access(&m->mmio, gpa, is_write, data, len_bytes);
}

/* The first of several vCPUs to end decides. */
void machine_note_guest_end(struct machine *m, enum guest_end how, const char *text)
{
	enum guest_end runs = GUEST_RUNS;
	static const char *const as_text[] = {
		[GUEST_OFF] = "guest powered off", [GUEST_RESET] = "guest asked for a reset"
	};

	if (atomic_load(&m->guest_end) != GUEST_RUNS)
		return;
	snprintf(m->guest_text, sizeof(m->guest_text), "%s", text ? text : as_text[how]);
	if (atomic_compare_exchange_strong(&m->guest_end, &runs, how))
		(void)eventfd_write(m->guest_fd, 1);
}

void machine_note_quit(void *opaque)
{
	struct machine *m = opaque;

	atomic_store(&m->quit_asked, true);
	(void)eventfd_write(m->guest_fd, 1);
}

static void on_exited(void *opaque, enum vm_exit_reason reason, unsigned int vcpu, const char *text)
{
	static const enum guest_end how[] = {
		[VM_EXIT_SHUTDOWN] = GUEST_OFF,
		[VM_EXIT_RESET] = GUEST_RESET,
		[VM_EXIT_CRASH] = GUEST_CRASHED,
		[VM_EXIT_ERROR] = GUEST_ERROR,
	};
	char line[128];

	snprintf(line, sizeof(line), "vCPU %u: %s", vcpu, text);
	machine_note_guest_end(opaque, how[reason],
			       how[reason] == GUEST_OFF || how[reason] == GUEST_RESET ? NULL :
											line);
}

void machine_irq(void *opaque, unsigned int gsi, bool level)
{
	struct machine *m = opaque;

	if (m->vm)
		(void)vm_irq_line(m->vm, gsi, level);
}

/* The table of everything that moves: vCPUs and interrupt controllers as the architecture orders them, then devices. */
static int build_entries(struct machine *m, struct err *err)
{
	unsigned int n;

	m->entries = calloc(MACHINE_MAX_STATE, sizeof(*m->entries));
	if (!m->entries)
		return err_set(err, -ENOMEM, "no memory for the state table");
	n = vm_state_entries(m->vm, m->entries, MACHINE_MAX_STATE - MACHINE_OWN_STATE);
	if (n > MACHINE_MAX_STATE - MACHINE_OWN_STATE)
		return err_set(err, -E2BIG, "%u state sections, at most %d", n,
			       MACHINE_MAX_STATE - MACHINE_OWN_STATE);
	m->entries[n++] = (struct state_entry){ .desc = &serial_state, .dev = m->serial };
	n += machine_power_entries(m, m->entries + n);
	if (m->rtc)
		m->entries[n++] = (struct state_entry){ .desc = &rtc_state, .dev = m->rtc };
	n += device_set_state_entries(m->devices, m->entries + n);
	m->entries[n++] = (struct state_entry){ .desc = &machine_run_desc, .dev = m };
	m->nentries = n;
	return 0;
}

static int build_devices(struct machine *m, const struct device_sections *came, struct err *err)
{
	const struct device_set_env env = { .vm = m->vm,
					    .mmio = &m->mmio,
					    .ncpus = m->config.ncpus,
					    .quit = machine_note_quit,
					    .quit_opaque = m };
	const struct machine_devices *config = came ? &came->devices : m->config.devices;

	if (!config || !config->n)
		return 0;
	return device_set_create(config, came ? came->face : NULL, &env, &m->devices, err);
}

/* With devices, so that both sides of a migration agree on it; a machine without any has firmware tables that tell of nothing. */
static int build_genid(struct machine *m, struct err *err)
{
	const struct irq_pin changed = { .set = machine_irq,
					 .opaque = m,
					 .gsi = arch_platform.genid_gsi };
	struct gmem *mem = vm_mem(m->vm);

	if (!m->devices)
		return 0;
	return genid_create(mem, arch_genid_gpa(mem), &changed, &m->genid, err);
}

int machine_build_vm(struct machine *m, const struct buf *cpu_model,
		     const struct device_sections *came, struct err *err)
{
	const struct vm_client client = {
		.pio = on_pio, .mmio = on_mmio, .exited = on_exited, .opaque = m
	};
	struct vm_config config = {
		.ncpus = m->config.ncpus,
		.dirty = m->config.dirty,
		.ring_entries = m->config.ring_entries,
		.dirty_accel = m->config.dirty_accel,
		.mem = { .backing = m->config.backing, .hugepage_bytes = m->config.hugepage_bytes },
		.pin = m->config.pin,
		.cpu_model = cpu_model,
	};
	int rc = arch_mem_layout(m->config.ram_bytes, config.mem.region, err);

	if (rc < 0)
		return rc;
	config.mem.nregions = (unsigned int)rc;
	rc = vm_create(&config, &client, &m->vm, err);
	if (!rc)
		rc = build_devices(m, came, err);
	if (!rc)
		rc = build_genid(m, err);
	return rc ? rc : build_entries(m, err);
}

void machine_drop_vm(struct machine *m)
{
	vm_end(m->vm);
	genid_destroy(m->genid);
	m->genid = NULL;
	device_set_destroy(m->devices);
	m->devices = NULL;
	vm_destroy(m->vm);
	m->vm = NULL;
	free(m->entries);
	m->entries = NULL;
	m->nentries = 0;
}

/* The built-in guest wants to know how many vCPUs there are; a user's own cpus= wins. */
static int builtin_cmdline(const struct machine *m, char *out, size_t out_bytes, struct err *err)
{
	const char *user = m->config.cmdline;
	int n = strstr(user, "cpus=") ?
			snprintf(out, out_bytes, "%s", user) :
			snprintf(out, out_bytes, "cpus=%u %s", m->config.ncpus, user);

	if (n < 0 || (size_t)n >= out_bytes)
		return err_set(err, -E2BIG, "--cmdline: too long for the built-in guest");
	return 0;
}

int machine_boot(struct machine *m, struct err *err)
{
	char cmdline[MACHINE_CMDLINE_MAX + 32];
	const struct boot_devices devices = {
		.pci = device_set_has_pci(m->devices),
		.virtio_slots = device_set_mmio_slots(m->devices),
		.genid = m->genid != NULL,
	};
	struct boot_config b = {
		.kernel_path = m->config.kernel_path,
		.kernel_image = builtin_guest_start,
		.kernel_image_bytes = (size_t)(builtin_guest_end - builtin_guest_start),
		.initrd_path = m->config.initrd_path,
		.cmdline = m->config.cmdline,
		.devices = &devices,
	};
	int rc;

	if (!m->config.kernel_path) {
		rc = builtin_cmdline(m, cmdline, sizeof(cmdline), err);
		if (rc)
			return rc;
		b.cmdline = cmdline;
	}
	rc = vm_boot(m->vm, &b, err);
	return !rc && m->genid ? genid_renew(m->genid, false, err) : rc;
}
