/* nvml_fake.c - a libnvidia-ml.so.1 without hardware, for a process that is started with its folder in LD_LIBRARY_PATH: every device is there
 * and well, but for what FATUNE_FAKE_NVML="name=value,..." plants (tests/fake/README.md). What is read changes with the number of the
 * reading alone, so that every process sees the same.
 *
 * The numbers are NVML's (NVML API reference), restated here and not taken from tuner/, so that a mistake there shows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, CLOCK_SM = 1, CLOCK_MEM = 2 };

struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};

static int readings; /* of the SM clock: one in each of fatune's readings, before anything else */

static double setting(const char *name, double otherwise)
{
    const char *text = getenv("FATUNE_FAKE_NVML");
    const size_t n = strlen(name);

    for (; text && *text; text += strcspn(text, ","), text += *text == ',')
        if (strncmp(text, name, n) == 0 && text[n] == '=') return strtod(text + n + 1, NULL);
    return otherwise;
}

/* Does this reading show what is planted as NAME_at and, from there on, NAME_every? */
static int planted(const char *name)
{
    char at[32], every[32];
    int first, step;

    snprintf(at, sizeof at, "%s_at", name);
    snprintf(every, sizeof every, "%s_every", name);
    first = (int)setting(at, -1);
    step = (int)setting(every, 0);
    if (first < 0 || readings - 1 < first) return 0;
    return readings - 1 == first || (step > 0 && (readings - 1 - first) % step == 0);
}

int nvmlInit_v2(void);
int nvmlInit_v2(void)
{
    return SUCCESS;
}

int nvmlShutdown(void);
int nvmlShutdown(void)
{
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device);
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
    static char handle;

    (void)uuid;
    *device = &handle;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{
    const double clock = setting("clock", 1980);

    (void)device;
    if (type != CLOCK_SM && type != CLOCK_MEM) return NOT_SUPPORTED;
    if (type == CLOCK_SM) readings++;
    *mhz = type == CLOCK_MEM ? 3201 : (unsigned)(planted("clock") ? 0.95 * clock : clock);
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    (void)device;
    (void)sensor;
    *celsius = 40 + (readings < 20 ? (unsigned)readings : 20u);
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = 300000;
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons);
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons)
{
    (void)device;
    *reasons = (unsigned long long)setting("reasons", 0) | (planted("throttle") ? 0x20u : 0);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *n, struct process *list);
int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *n, struct process *list)
{
    const unsigned own = setting("hide", 0) > 0 ? 0 : 1, others = planted("others") ? 1 : 0;

    (void)device;
    if (*n < own + others) return INSUFFICIENT_SIZE;
    *n = own + others;
    if (own) list[0] = (struct process){.pid = (unsigned)getpid()};
    if (others) list[own] = (struct process){.pid = 1}; /* nobody's child is a stranger for sure */
    return SUCCESS;
}

int nvmlDeviceGetMPSComputeRunningProcesses_v2(void *device, unsigned *n, struct process *list);
int nvmlDeviceGetMPSComputeRunningProcesses_v2(void *device, unsigned *n, struct process *list)
{
    (void)device;
    (void)list;
    *n = (unsigned)setting("mps", 0);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending);
int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *pending)
{
    (void)device;
    *now = *pending = (unsigned)setting("mig", 0);
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts);
int nvmlDeviceGetEnforcedPowerLimit(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = (unsigned)setting("power_limit", 700) * 1000;
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *milliwatts);
int nvmlDeviceGetPowerManagementDefaultLimit(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = 700000;
    return SUCCESS;
}

int nvmlDeviceGetApplicationsClock(void *device, int type, unsigned *mhz);
int nvmlDeviceGetApplicationsClock(void *device, int type, unsigned *mhz)
{
    (void)device;
    *mhz = type == CLOCK_SM ? (unsigned)setting("app_clock", 1980) : 3201;
    return SUCCESS;
}

int nvmlDeviceGetDefaultApplicationsClock(void *device, int type, unsigned *mhz);
int nvmlDeviceGetDefaultApplicationsClock(void *device, int type, unsigned *mhz)
{
    (void)device;
    *mhz = type == CLOCK_SM ? 1980 : 3201;
    return SUCCESS;
}
