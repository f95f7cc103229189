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

/* The clocks of a quad's four letters: the mean over the m samples of each, of those whose clock is known (above 0); 0 where none is. */
void health_letter_clocks(const double *sample_mhz, int m, double letter_mhz[4]);

/* What spoils the comparison of a quad's times. A reason that lasts is how the device works here (attention at full tilt may sit at the
 * power cap all the time); one that comes or goes is a change. So is an SM clock that differs by more than 1% between the two letters of
 * an arm, the outer or the inner ones; what an arm does to the clock is its own doing, and stays. Where letter_mhz (may be NULL) knows
 * neither pair, the clocks of the readings are compared. What is unknown has not changed. */
enum health_change { HEALTH_STEADY, HEALTH_CLOCK, HEALTH_THROTTLE, HEALTH_NCHANGES };
enum health_change health_changed(const struct health_reading *before, const struct health_reading *after,
                                  const double letter_mhz[4]);
const char *health_change_name(enum health_change c); /* steady, clock, throttle */

/* Changes in more than this share of a session's quads are no events: it is how the device works under this load (a clock at its power
 * cap moves all the time). */
#define HEALTH_RARE 0.20

/* How long to let a device settle behind a quad. Zeroed at first. 50 ms behind one that was spoiled, twice as long behind the next in a
 * row, at most 0.5 s; 0 otherwise, and once changes are not rare among the session's quads: a device that rests is another device. */
struct health_pause {
    double s;
    int spoiled;
};
double health_pause_s(struct health_pause *p, enum health_change last, int quads);

/* Never fails: a device without a monitor gives a health that reads unknown. note (may be NULL) says why. NULL only when
 * out of memory. */
struct buf;
struct health *health_open(const struct target *t, struct buf *note);
void health_close(struct health *h);
void health_read(struct health *h, struct health_reading *out);
/* Static facts for the environment record: driver, VBIOS, ECC, MIG, persistence, power limit, max clocks; what is
 * unknown is absent. New reference, NULL when out of memory. */
json_t *health_environment(struct health *h);
/* What a person should look at before measuring, a text with its remedy each: MIG, clients of MPS, other processes, a power limit below the
 * default, applications clocks, a clock that is held down now. New reference (a list, empty when all is well), NULL when out of
 * memory. */
json_t *health_complaints(struct health *h);
json_t *health_to_json(const struct health_reading *r);
/* The reverse; what is not there (j may be NULL) is unknown. */
void health_from_json(struct health_reading *r, const json_t *j);

#endif
