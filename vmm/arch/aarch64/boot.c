/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "arm64.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "boot_image.h"
#include "boot_stream.h"
#include "fdt.h"
#include "kvm_arm64.h"
#include "layout.h"

/* Loads kernel, initrd and device tree and sets the boot vCPU's registers (Documentation/arch/arm64/booting.rst). The other vCPUs are off. */

/* COMMAND_LINE_SIZE, with the terminating zero (Linux: arch/arm64/include/uapi/asm/setup.h). */
#define CMDLINE_MAX 2048u
/* What may follow a kernel's image_size bytes and is nobody's: a signature. */
#define TAIL_MAX_BYTES (1u << 20)

#define REG_MPIDR_EL1 ARM64_SYS_REG(3, 0, 0, 0, 5)
#define REG_ID_AA64MMFR0_EL1 ARM64_SYS_REG(3, 0, 0, 7, 0)
#define REG_CORE(member) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))

/* EL1h, with D, A, I and F masked. */
#define PSTATE_AT_ENTRY 0x3c5ull

/* A granule's field in ID_AA64MMFR0_EL1 says "not there" by a value of its own (Arm ARM, ID_AA64MMFR0_EL1). */
static bool has_granule(uint64_t mmfr0, unsigned int kib)
{
	switch (kib) {
	case 4:
		return (mmfr0 >> 28 & 0xf) != 0xf;
	case 16:
		return (mmfr0 >> 20 & 0xf) != 0;
	case 64:
		return (mmfr0 >> 24 & 0xf) != 0xf;
	default:
		return true; /* the kernel finds out by itself */
	}
}

static int check_granule(const struct arch_vcpu *ac, const struct arm64_image *image,
			 const char *name, struct err *err)
{
	uint64_t mmfr0;
	int r = kvm_get_one_reg(ac->fd, REG_ID_AA64MMFR0_EL1, &mmfr0, err);

	if (r < 0) {
		err_prefix(err, "ID_AA64MMFR0_EL1");
		return r;
	}
	if (!has_granule(mmfr0, image->page_kib))
		return err_set(
			err, -EOPNOTSUPP,
			"%s: a kernel for pages of %u KiB, which this host's CPU does not have",
			name, image->page_kib);
	return 0;
}

/* What is behind the image has to end soon; for gzip, reading up to there proves the checksum. */
static int check_tail(struct boot_stream *s, const char *name, uint64_t image_size, struct err *err)
{
	uint8_t scrap[4096];
	uint64_t tail = 0;
	size_t n;

	do {
		int r = boot_stream_read(s, scrap, sizeof(scrap), &n, err);

		if (r < 0)
			return r;
		tail += n;
		if (tail > TAIL_MAX_BYTES)
			return err_set(err, -EINVAL,
				       "%s: goes on behind the %llu bytes that its header tells",
				       name, (unsigned long long)image_size);
	} while (n > 0);
	return 0;
}

struct kernel {
	struct boot_stream *stream;
	uint8_t header[ARM64_IMAGE_HEADER_BYTES];
	struct arm64_image image;
};

static int open_kernel(const struct boot_source *src, struct kernel *k, struct err *err)
{
	size_t n;
	int r = boot_stream_open(src, &k->stream, err);

	if (r == 0)
		r = boot_stream_read(k->stream, k->header, sizeof(k->header), &n, err);
	if (r == 0)
		r = arm64_image_parse(k->header, n, src->name, &k->image, err);
	if (r == 0 && !boot_stream_is_gzip(k->stream))
		r = arm64_image_check_length(src, err);
	return r;
}

/* The memory is fresh, so that what follows the file's bytes is zero without being touched. */
static int load_kernel(struct kernel *k, const char *name, struct gmem *mem, uint64_t gpa,
		       struct err *err)
{
	uint8_t *p = gmem_ptr(mem, gpa, k->image.image_size);
	size_t n;
	int r;

	if (!p)
		return err_set(err, -EFAULT, "%s: no memory at 0x%llx", name,
			       (unsigned long long)gpa);
	memcpy(p, k->header, sizeof(k->header));
	r = boot_stream_read(k->stream, p + sizeof(k->header),
			     k->image.image_size - sizeof(k->header), &n, err);
	if (r == 0)
		r = check_tail(k->stream, name, k->image.image_size, err);
	if (r == 0)
		gmem_mark_dirty(mem, gpa, sizeof(k->header) + n);
	return r;
}

static int fill_random(void *dst, size_t len_bytes, struct err *err)
{
	return getrandom(dst, len_bytes, 0) == (ssize_t)len_bytes ?
		       0 :
		       err_sys(err, -errno, "seeds for the guest: getrandom");
}

/* RAM as the guest is told; a generation ID has the rest. */
static uint64_t guest_ram_bytes(const struct gmem *mem, const struct boot_config *boot)
{
	bool genid = boot->devices && boot->devices->genid;

	return mem->region[0].len_bytes - (genid ? LAYOUT_GENID_BYTES : 0);
}

static int write_fdt(struct arch_vm *av, struct gmem *mem, const struct arm64_plan *plan,
		     uint64_t initrd_bytes, const struct boot_config *boot, struct err *err)
{
	uint64_t mpidr[LAYOUT_MAX_VCPUS];
	struct arm64_fdt config = {
		.ram_bytes = guest_ram_bytes(mem, boot),
		.ncpus = av->ncpus,
		.mpidr = mpidr,
		.cmdline = boot->cmdline ? boot->cmdline : "",
		.devices = boot->devices,
		.initrd = plan->initrd,
		.initrd_bytes = initrd_bytes,
	};
	void *p = gmem_ptr(mem, plan->fdt, ARM64_FDT_MAX_BYTES);
	size_t len_bytes;
	int r;

	if (!p)
		return err_set(err, -EFAULT, "no memory for the device tree");
	for (unsigned int i = 0; i < av->ncpus; i++) {
		r = kvm_get_one_reg(av->vcpu[i]->fd, REG_MPIDR_EL1, &mpidr[i], err);
		if (r < 0) {
			err_prefix(err, "vCPU %u: MPIDR_EL1", i);
			return r;
		}
	}
	r = fill_random(&config.kaslr_seed, sizeof(config.kaslr_seed), err);
	if (r == 0)
		r = fill_random(config.rng_seed, sizeof(config.rng_seed), err);
	if (r == 0)
		r = arm64_fdt_build(&config, p, ARM64_FDT_MAX_BYTES, &len_bytes, err);
	if (r == 0)
		gmem_mark_dirty(mem, plan->fdt, len_bytes);
	return r;
}

static int set_registers(int vcpu_fd, const struct arm64_plan *plan, struct err *err)
{
	const struct {
		uint64_t id;
		uint64_t value;
	} regs[] = {
		{ REG_CORE(regs.regs[0]), plan->fdt }, { REG_CORE(regs.regs[1]), 0 },
		{ REG_CORE(regs.regs[2]), 0 },         { REG_CORE(regs.regs[3]), 0 },
		{ REG_CORE(regs.pc), plan->kernel },   { REG_CORE(regs.pstate), PSTATE_AT_ENTRY },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(regs) && r == 0; i++)
		r = kvm_set_one_reg(vcpu_fd, regs[i].id, &regs[i].value, err);
	if (r < 0)
		err_prefix(err, "registers at entry");
	return r;
}

static int load(struct arch_vm *av, struct gmem *mem, const struct boot_source *kernel,
		const struct boot_source *initrd, const struct boot_config *boot, struct kernel *k,
		struct err *err)
{
	struct arm64_plan plan;
	int r = open_kernel(kernel, k, err);

	if (r == 0)
		r = check_granule(av->vcpu[0], &k->image, kernel->name, err);
	if (r == 0)
		r = arm64_image_plan(&k->image, kernel->name, mem->region[0].gpa,
				     guest_ram_bytes(mem, boot), initrd, &plan, err);
	if (r == 0)
		r = load_kernel(k, kernel->name, mem, plan.kernel, err);
	if (r == 0 && initrd)
		r = boot_source_load(initrd, 0, mem, plan.initrd, initrd->len_bytes, err);
	if (r == 0)
		r = write_fdt(av, mem, &plan, initrd ? initrd->len_bytes : 0, boot, err);
	return r == 0 ? set_registers(av->vcpu[0]->fd, &plan, err) : r;
}

static int open_sources(const struct boot_config *boot, struct boot_source *kernel, int *kernel_fd,
			struct boot_source *initrd, int *initrd_fd, struct err *err)
{
	int r = 0;

	*kernel = (struct boot_source){
		.data = boot->kernel_image,
		.fd = -1,
		.len_bytes = boot->kernel_image_bytes,
		.name = "built-in guest",
	};
	if (boot->kernel_path)
		r = boot_source_open(boot->kernel_path, kernel, kernel_fd, err);
	if (r == 0 && boot->initrd_path)
		r = boot_source_open(boot->initrd_path, initrd, initrd_fd, err);
	if (r == 0 && boot->initrd_path && !initrd->len_bytes)
		r = err_set(err, -EINVAL, "%s: the file is empty", boot->initrd_path);
	return r;
}

int arch_boot(struct arch_vm *av, struct gmem *mem, const struct boot_config *boot, struct err *err)
{
	const char *cmdline = boot->cmdline ? boot->cmdline : "";
	cleanup_fd int kernel_fd = -1;
	cleanup_fd int initrd_fd = -1;
	struct boot_source kernel, initrd;
	struct kernel k = { 0 };
	int r;

	if (!av->vcpu[0] || mem->nregions != 1)
		return err_set(err, -EINVAL, "no vCPU or no memory to boot with");
	if (strlen(cmdline) >= CMDLINE_MAX)
		return err_set(err, -E2BIG, "command line of %zu bytes, the kernel takes %u",
			       strlen(cmdline), CMDLINE_MAX - 1);
	r = open_sources(boot, &kernel, &kernel_fd, &initrd, &initrd_fd, err);
	if (r == 0)
		r = load(av, mem, &kernel, boot->initrd_path ? &initrd : NULL, boot, &k, err);
	boot_stream_close(k.stream);
	return r;
}
