/* SPDX-License-Identifier: Apache-2.0 */
#include "gic.h"
#include "arch.h"
#include "layout.h"

/* IHI 0069H, 12.8 distributor, 12.10 and 12.11 redistributor, 12.2 CPU interface. */
#define GICD_CTLR 0x0000u
#define GICD_IGROUPR 0x0080u
#define GICD_ISENABLER 0x0100u
#define GICD_IPRIORITYR 0x0400u
#define GICD_ICFGR 0x0c00u
#define GICD_IROUTER 0x6000u

#define GICD_CTLR_ENABLE_GROUP1 (1u << 1)
#define GICD_CTLR_AFFINITY_ROUTING (1u << 4)
#define GICD_CTLR_WRITE_PENDING (1u << 31)

#define GICR_TYPER 0x0008u
#define GICR_WAKER 0x0014u
#define GICR_FRAME_BYTES 0x20000u
#define GICR_SGI_FRAME 0x10000u /* here the banked registers are as in the distributor */

#define GICR_TYPER_LAST (1u << 4)
#define GICR_TYPER_AFFINITY_SHIFT 32
#define GICR_WAKER_SLEEP (1u << 1)
#define GICR_WAKER_ASLEEP (1u << 2)

#define ICC_SGI1R_ALL_BUT_SELF (1ull << 40)
#define ICC_SGI1R_INTID_SHIFT 24
#define INTID_MASK 0xffffffu

#define PRIORITY 0xa0
#define PRIORITY_ANY 0xff

void gic_init_distributor(void)
{
	mmio_write32(GICD_PA + GICD_CTLR, GICD_CTLR_AFFINITY_ROUTING | GICD_CTLR_ENABLE_GROUP1);
	while (mmio_read32(GICD_PA + GICD_CTLR) & GICD_CTLR_WRITE_PENDING)
		cpu_pause();
}

/* As GICR_TYPER has it: Aff3 beside the others. */
static uint32_t own_affinity(void)
{
	uint64_t mpidr = sysreg_read(mpidr_el1);

	return (uint32_t)((mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff));
}

/* Of this CPU; 0 if there is none. */
static uint64_t find_redistributor(void)
{
	uint32_t own = own_affinity();
	uint64_t typer = 0;

	for (uint64_t pa = GICR_PA; pa < UART_PA && !(typer & GICR_TYPER_LAST);
	     pa += GICR_FRAME_BYTES) {
		typer = mmio_read64(pa + GICR_TYPER);
		if (typer >> GICR_TYPER_AFFINITY_SHIFT == own)
			return pa;
	}
	return 0;
}

static void init_cpu_interface(void)
{
	sysreg_write(icc_sre_el1, sysreg_read(icc_sre_el1) | 1);
	cpu_isb();
	sysreg_write(icc_pmr_el1, PRIORITY_ANY);
	sysreg_write(icc_bpr1_el1, 0);
	sysreg_write(icc_ctlr_el1, 0); /* the end of an interrupt drops its priority, too */
	sysreg_write(icc_igrpen1_el1, 1);
	cpu_isb();
}

bool gic_init_cpu(void)
{
	uint64_t rd = find_redistributor();
	uint64_t banked = rd + GICR_SGI_FRAME;

	if (!rd)
		return false;
	mmio_write32(rd + GICR_WAKER, mmio_read32(rd + GICR_WAKER) & ~GICR_WAKER_SLEEP);
	while (mmio_read32(rd + GICR_WAKER) & GICR_WAKER_ASLEEP)
		cpu_pause();
	mmio_write32(banked + GICD_IGROUPR, UINT32_MAX);
	mmio_write8(banked + GICD_IPRIORITYR + INTID_WAKE, PRIORITY);
	mmio_write8(banked + GICD_IPRIORITYR + INTID_TICK, PRIORITY);
	mmio_write32(banked + GICD_ISENABLER, 1u << INTID_WAKE | 1u << INTID_TICK);
	init_cpu_interface();
	return true;
}

void gic_open_spi(uint32_t intid)
{
	uint64_t group = GICD_PA + GICD_IGROUPR + intid / 32 * 4;
	uint64_t config = GICD_PA + GICD_ICFGR + intid / 16 * 4;
	uint64_t affinity = sysreg_read(mpidr_el1) & 0xff00ffffff;

	mmio_write32(group, mmio_read32(group) | 1u << intid % 32);
	mmio_write32(config, mmio_read32(config) & ~(3u << intid % 16 * 2));
	mmio_write8(GICD_PA + GICD_IPRIORITYR + intid, PRIORITY);
	mmio_write64(GICD_PA + GICD_IROUTER + intid * 8ull, affinity);
	mmio_write32(GICD_PA + GICD_ISENABLER + intid / 32 * 4, 1u << intid % 32);
}

uint32_t gic_acknowledge(void)
{
	uint32_t intid = sysreg_read(icc_iar1_el1) & INTID_MASK;

	/* What the handler reads and writes comes after. */
	__asm__ volatile("dsb sy" ::: "memory");
	return intid;
}

void gic_end(uint32_t intid)
{
	/* A level that fell must have arrived, or the interrupt comes again for nothing. */
	__asm__ volatile("dsb sy" ::: "memory");
	sysreg_write(icc_eoir1_el1, intid);
	cpu_isb();
}

void gic_send_others(uint32_t intid)
{
	/* They see what this CPU wrote before. */
	__asm__ volatile("dsb ishst" ::: "memory");
	sysreg_write(icc_sgi1r_el1,
		     ICC_SGI1R_ALL_BUT_SELF | (uint64_t)intid << ICC_SGI1R_INTID_SHIFT);
	cpu_isb();
}
