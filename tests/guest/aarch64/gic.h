/* SPDX-License-Identifier: Apache-2.0 */
/* The GICv3 (IHI 0069), one security state: group 1 interrupts, all with one priority. */
#ifndef GUEST_GIC_H
#define GUEST_GIC_H

#include <stdbool.h>
#include <stdint.h>

/* From 1020 on: there was no interrupt. */
#define GIC_NONE 1020u

/* Once, on CPU 0. */
void gic_init_distributor(void);
/* On each CPU; its SGI INTID_WAKE and its timer's PPI are open from here on. */
bool gic_init_cpu(void);
/* A level-triggered SPI, which goes to this CPU. */
void gic_open_spi(uint32_t intid);
/* The interrupt that this CPU has to serve now, until gic_end(). */
uint32_t gic_acknowledge(void);
void gic_end(uint32_t intid);
/* An SGI to all CPUs but this one. */
void gic_send_others(uint32_t intid);

#endif
