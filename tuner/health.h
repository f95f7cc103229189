/* health.h - the state of a device around a measurement: clocks, power, temperature, throttle reasons, other processes.
 *
 * CUDA devices: NVML by dlopen. Others: what the host says (load average, CPU frequency) or nothing. Unknown is -1, never
 * a guess. Reads only; changes no setting of any device. */
#ifndef HEALTH_H
#define HEALTH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "problem.h"

struct health;

/* This process, or one that our supervisor (FATUNE_SUPERVISOR) started, or a descendant of it: the other arm of a trial may be timed
 * by a program of its own, and is no stranger. */
bool health_is_ours(long pid);

struct health_reading {
    int sm_mhz, mem_mhz, temperature_c, power_mw;
    int64_t throttle;    /* NVML clocks event reasons, bit mask; -1 unknown */
    int other_processes; /* compute processes on the device that are not ours; -1 unknown */
};

/* Bits of throttle that mean the clock was held down: SwPowerCap 0x4, HwSlowdown 0x8, SwThermal 0x20, HwThermal 0x40,
 * HwPowerBrake 0x80 (NVML documentation, nvmlClocksEventReasons). */
#define HEALTH_THROTTLE_BITS 0xECLL

/* Never fails: a device without a monitor gives a health that reads unknown. note (may be NULL) says why. NULL only when
 * out of memory. */
struct buf;
struct health *health_open(const struct target *t, struct buf *note);
void health_close(struct health *h);
void health_read(struct health *h, struct health_reading *out);
/* Static facts for the environment record: driver, VBIOS, ECC, MIG, persistence, power limit, max clocks; what is
 * unknown is absent. New reference, NULL when out of memory. */
json_t *health_environment(struct health *h);
json_t *health_to_json(const struct health_reading *r);

#endif
