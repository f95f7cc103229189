/* health.h - the state of a device around a measurement: clocks, power, temperature, throttle reasons, other processes.
 *
 * Devices that NVML knows: NVML, by dlopen. The host's own CPU: its load average and governor, for the record; no clock, since the mean
 * over its cores is not that of the cores at work. Others: nothing. Unknown is -1, never a guess. Reads only; changes no setting of any
 * device. */
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
/* X(bit, name) of each */
#define HEALTH_REASONS(X)                                                                                              \
    X(0x4, "power cap")                                                                                                \
    X(0x8, "hardware slowdown")                                                                                        \
    X(0x20, "software thermal slowdown")                                                                               \
    X(0x40, "hardware thermal slowdown")                                                                               \
    X(0x80, "power brake")

/* What spoils a comparison of times measured between two readings. A reason that lasts is how the device works here (attention at full
 * tilt may sit at the power cap all the time); one that comes or goes is a change, and so is an SM clock that moves by more than 1%.
 * What is unknown has not changed. */
enum health_change { HEALTH_STEADY, HEALTH_CLOCK, HEALTH_THROTTLE, HEALTH_NCHANGES };
enum health_change health_changed(const struct health_reading *before, const struct health_reading *after);
const char *health_change_name(enum health_change c); /* steady, clock, throttle */

/* How long to let a device settle when the last of something was spoiled (pause_s: what this gave before, 0 at first): 50 ms, twice as long each
 * time, at most 0.5 s; 0 when it was not. */
double health_pause_s(enum health_change last, double pause_s);

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
/* The reverse; what is not there (j may be NULL) is unknown. */
void health_from_json(struct health_reading *r, const json_t *j);

#endif
