/* A libnvidia-ml.so.1 without a GPU: it plays the node that a text file describes, for tests of the reader.
 *
 * It has those functions of NVIDIA's library that the reader calls, and no others, but for one that the reader
 * must not call. The environment variable FAKE_NVML names the file, which is read anew if it has changed:
 *
 *     node driver 570.86.10 cuda 12080
 *     device 0 uuid GPU-1 name "NVIDIA H100 80GB HBM3" temperature 61 link.3 1 field.82 1:45 field.161@3 3:7
 *     device 0/1 uuid MIG-1 name "NVIDIA H100 80GB HBM3 MIG 1g.10gb" gi 7 ci 0
 *     device 0 fail.nvmlDeviceGetTemperature 3
 *     event 0 8 79
 *
 * device I/J is instance J of device I. A field value is TYPE:VALUE (nvmlValueType_t), or - for one that the
 * driver leaves untouched. What is not named is not supported. fail.FUNCTION answers with that nvmlReturn_t, also
 * for all (node fail...); away does so for every call about the device, and gone for every call there is. A wait
 * of a node that is impatient comes back at once; of one that is stuck it does not come back. Events (device,
 * type, data, GPU instance) are told once each, in their order, if the device is registered for them.
 *
 * The file and the counting are in played.c. Signatures are those of nvml.h, see played.h.
 */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "played.h"

struct nvmlEventSet_st { int waiting; unsigned long long types[DEVICES]; };

static struct nvmlDevice_st devices[DEVICES], instances[DEVICES][INSTANCES];
static int waits; /* under way */

#define NUMBER(function, key, type) \
    nvmlReturn_t function(nvmlDevice_t device, type *out) { \
        long long value = 0; \
        nvmlReturn_t code = number(device, #function, key, &value); \
        if (!code) *out = (type)value; \
        return code; \
    }
#define WORDS(function, key) \
    nvmlReturn_t function(nvmlDevice_t device, char *out, unsigned length) { \
        return words(device, #function, key, out, length); \
    }

WORDS(nvmlDeviceGetName, "name")
WORDS(nvmlDeviceGetUUID, "uuid")
WORDS(nvmlDeviceGetSerial, "serial")
NUMBER(nvmlDeviceGetMinorNumber, "minor", unsigned)
NUMBER(nvmlDeviceGetArchitecture, "architecture", nvmlDeviceArchitecture_t)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie.generation.max", unsigned)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie.width.max", unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie.generation", unsigned)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie.width", unsigned)
NUMBER(nvmlDeviceGetPcieReplayCounter, "pcie.replays", unsigned)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power.limit", unsigned)
NUMBER(nvmlDeviceGetPowerUsage, "power", unsigned)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, "energy", unsigned long long)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, "throttle", unsigned long long)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, "throttle", unsigned long long)
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, "pages.pending", nvmlEnableState_t)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, "mig.max", unsigned)
NUMBER(nvmlDeviceGetGpuInstanceId, "gi", unsigned)
NUMBER(nvmlDeviceGetComputeInstanceId, "ci", unsigned)

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *out) {
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    *out = (unsigned long long)number_or(device, "events", 0);
    return end(OK);
}

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, nvmlPcieUtilCounter_t counter, unsigned *out) {
    (void)counter; /* here only to tell that it was called */
    *out = 0;
    nvmlReturn_t code = begin(device, __func__);
    return code ? code : end(OK);
}

/* The library and the node. */

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    enter(__func__);
    nvmlReturn_t code = failure(&node, __func__);
    initialised += !code;
    return end(code);
}

nvmlReturn_t nvmlShutdown(void) {
    enter(__func__);
    if (!initialised) return end(UNINITIALIZED);
    initialised--;
    misused += waits > 0;
    return end(failure(&node, __func__));
}

const char *nvmlErrorString(nvmlReturn_t code) {
    static __thread char said[32];
    snprintf(said, sizeof said, "error %d", (int)code);
    return said;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned length) {
    return words(&node, __func__, "driver", out, length);
}

static nvmlReturn_t cuda(const char *function, int *out) {
    long long value = 0;
    nvmlReturn_t code = number(&node, function, "cuda", &value);
    *out = (int)value;
    return code;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *out) { return cuda(__func__, out); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *out) { return cuda(__func__, out); }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *out) {
    nvmlReturn_t code = begin(&node, __func__);
    if (code) return code;
    for (*out = 0; *out < DEVICES; ++*out) {
        snprintf(devices[*out].ident, sizeof devices[*out].ident, "%u", *out);
        if (!find(&devices[*out], "uuid")) break;
    }
    return end(OK);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out) {
    if (index >= DEVICES) return INVALID;
    nvmlReturn_t code = begin(&devices[index], __func__);
    if (code) return code;
    *out = &devices[index];
    return end(find(*out, "uuid") ? OK : INVALID);
}

/* One device. */

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *out) {
    memset(out, 0, sizeof *out);
    return words(device, __func__, "pci", out->busId, sizeof out->busId);
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    char text[16];
    nvmlReturn_t code = words(device, __func__, "capability", text, sizeof text);
    if (!code) sscanf(text, "%d.%d", major, minor);
    return code;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned *out) {
    long long value = 0;
    const char *key = (int)type == 1 ? "clock.sm" : (int)type == 2 ? "clock.memory" : "";
    nvmlReturn_t code = number(device, __func__, key, &value);
    *out = (unsigned)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned *out) {
    long long value = 0;
    nvmlReturn_t code = number(device, __func__, sensor ? "" : "temperature", &value);
    *out = (unsigned)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *out) {
    if (out->version != 0x100000C) return WRONG_VERSION;
    long long value = 0;
    nvmlReturn_t code = number(device, __func__, out->sensorType ? "" : "temperature", &value);
    out->temperature = (int)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *out) {
    if (out->version != 0x1000008) return WRONG_VERSION;
    long long value = 0;
    nvmlReturn_t code = number(device, __func__, "margin", &value);
    out->marginTemperature = (int)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out) {
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    long long reserved = number_or(device, "memory.reserved", 0);
    out->total = (unsigned long long)number_or(device, "memory.total", 0);
    out->used = (unsigned long long)(number_or(device, "memory.used", 0) + reserved);
    out->free = out->total - out->used;
    return end(find(device, "memory.total") ? OK : NOT_SUPPORTED);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out) {
    if (out->version != 0x2000028) return WRONG_VERSION;
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    out->total = (unsigned long long)number_or(device, "memory.total", 0);
    out->reserved = (unsigned long long)number_or(device, "memory.reserved", 0);
    out->used = (unsigned long long)number_or(device, "memory.used", 0);
    out->free = out->total - out->used - out->reserved;
    return end(find(device, "memory.total") ? OK : NOT_SUPPORTED);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out) {
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    out->gpu = (unsigned)number_or(device, "utilization", 0);
    out->memory = (unsigned)number_or(device, "utilization.memory", 0);
    return end(find(device, "utilization") ? OK : NOT_SUPPORTED);
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type,
                                         nvmlEccCounterType_t counter, unsigned long long *out) {
    char key[16];
    long long value = 0;
    snprintf(key, sizeof key, "ecc.%d.%d", (int)type, (int)counter);
    nvmlReturn_t code = number(device, __func__, key, &value);
    *out = (unsigned long long)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *out) {
    if (out->version != 0x1000068) return WRONG_VERSION;
    long long value = 0;
    nvmlReturn_t code = number(device, __func__, "sram.exceeded", &value);
    out->bThresholdExceeded = (unsigned)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected, unsigned *uncorrected,
                                       unsigned *pending, unsigned *failed) {
    char text[64];
    nvmlReturn_t code = words(device, __func__, "rows", text, sizeof text);
    if (!code) sscanf(text, "%u,%u,%u,%u", corrected, uncorrected, pending, failed);
    return code;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, nvmlEnableState_t *out) {
    char key[16];
    long long value = 0;
    snprintf(key, sizeof key, "link.%u", link);
    nvmlReturn_t code = number(device, __func__, key, &value);
    *out = (nvmlEnableState_t)value;
    return (int)code == NOT_SUPPORTED ? (nvmlReturn_t)INVALID : code; /* as of a link that the chip has not */
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *out) {
    if (out->version != 0x3000028) return WRONG_VERSION;
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    out->state = (unsigned char)number_or(device, "fabric.state", 0);
    out->healthSummary = (unsigned char)number_or(device, "fabric.health", 0);
    return end(find(device, "fabric.state") ? OK : NOT_SUPPORTED);
}

static nvmlReturn_t processes(nvmlDevice_t device, const char *function, unsigned *size, nvmlProcessInfo_t *out) {
    nvmlReturn_t code = begin(device, function);
    if (code) return code;
    if (!find(device, "processes")) return end(NOT_SUPPORTED);
    unsigned running = (unsigned)number_or(device, "processes", 0), room = *size;
    *size = running;
    if (running > room) return end(TOO_SMALL);
    for (unsigned i = 0; i < running; i++) out[i] = (nvmlProcessInfo_t){.pid = 1000 + i, .usedGpuMemory = 1};
    return end(OK);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device, unsigned *size,
                                                     nvmlProcessInfo_v2_t *out) {
    return processes(device, __func__, size, (nvmlProcessInfo_t *)out);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *size,
                                                     nvmlProcessInfo_t *out) {
    return processes(device, __func__, size, out);
}

static void field_value(nvmlDevice_t device, nvmlFieldValue_t *out) {
    char name[32], key[48];
    snprintf(name, sizeof name, "field.%u", out->fieldId);
    snprintf(key, sizeof key, out->scopeId ? "%s@%u" : "%s", name, out->scopeId);
    count(name);
    const char *value = find(device, key);
    out->nvmlReturn = failure(device, name);
    if (!out->nvmlReturn && !value) out->nvmlReturn = NOT_SUPPORTED;
    if (out->nvmlReturn || *value == '-') return;
    out->timestamp = 1;
    out->valueType = (int)strtol(value, NULL, 10);
    const char *digits = strchr(value, ':') + 1;
    memset(&out->value, 0xEE, sizeof out->value); /* what is not of this type is not to be read */
    if (out->valueType == 0) out->value.dVal = strtod(digits, NULL);
    else if (out->valueType == 6) memcpy(&out->value, &(unsigned short){(unsigned short)atoi(digits)}, 2);
    else if (out->valueType == 1 || out->valueType == 5) out->value.uiVal = (unsigned)strtoll(digits, NULL, 0);
    else out->value.ullVal = strtoull(digits, NULL, 0);
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int size, nvmlFieldValue_t *values) {
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    for (int i = 0; i < size; i++) field_value(device, &values[i]);
    return end(OK);
}

/* A divided device. */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    long long value = 0;
    nvmlReturn_t code = number(device, __func__, "mig", &value);
    *current = *pending = (unsigned)value;
    return code;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *out) {
    if (index >= INSTANCES) return INVALID;
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    *out = &instances[device - devices][index];
    snprintf((*out)->ident, sizeof (*out)->ident, "%.8s/%u", device->ident, index);
    return end(find(*out, "uuid") ? OK : NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *out) {
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    out->gpuInstanceSliceCount = (unsigned)number_or(device, "slices.gpu", 0);
    out->computeInstanceSliceCount = (unsigned)number_or(device, "slices.compute", 0);
    out->memorySizeMB = (unsigned long long)number_or(device, "memory.mib", 0);
    return end(find(device, "slices.gpu") ? OK : NOT_SUPPORTED);
}

/* Events. */

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out) {
    nvmlReturn_t code = begin(&node, __func__);
    if (code) return code;
    *out = calloc(1, sizeof **out);
    return end(OK);
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    nvmlReturn_t code = begin(device, __func__);
    if (code) return code;
    if (!types || types & ~(unsigned long long)number_or(device, "events", 0)) return end(NOT_SUPPORTED);
    if (types & (unsigned long long)number_or(device, "events.refused", 0)) return end(INVALID);
    set->types[device - devices] |= types;
    return end(OK);
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    nvmlReturn_t code = begin(&node, __func__);
    if (code) return code;
    if (set->waiting) misused++;
    else free(set);
    return end(OK);
}

static nvmlReturn_t next_event(nvmlEventSet_t set, nvmlEventData_t *out) {
    nvmlReturn_t code = begin(&node, "waiting");
    if (code) return code;
    for (; told < event_count; told++) {
        struct played_event *event = &events[told];
        if (!(set->types[event->device] & event->type)) continue; /* nobody has registered for it */
        *out = (nvmlEventData_t){&devices[event->device], event->type, event->data, event->instance, 0xFFFFFFFFu};
        told++;
        return end(OK);
    }
    for (int at = 0; at < DEVICES; at++)
        if (set->types[at] && number_or(&devices[at], "away", 0) == LOST) return end(LOST);
    return end(TIMEOUT);
}

static int stuck(void) {
    enter("stuck");
    int is = number_or(&node, "stuck", 0) != 0;
    end(OK);
    return is;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned timeoutms) {
    nvmlReturn_t code = begin(&node, __func__);
    if (code) return code;
    set->waiting++, waits++;
    long long impatient = number_or(&node, "impatient", 0);
    unsigned every = number_or(&node, "wait.step", 2); /* ms; a bench looks seldom, so as not to measure itself */
    end(OK);
    struct timespec step = {0, every * 1000000L};
    for (unsigned waited = 0;; waited += every) {
        code = next_event(set, data);
        if ((int)code != TIMEOUT || impatient) break;
        if (waited >= timeoutms && !stuck()) break;
        nanosleep(&step, NULL);
    }
    enter("waited");
    set->waiting--, waits--;
    return end(code);
}

