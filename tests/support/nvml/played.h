/* What played.c knows of the node, for nvml.c: its entries and events, and the frame of every function.
 *
 * Types are those of nvml.h. With -DNVML_HEADER='"nvml.h"' they come from there, which checks every signature.
 */

#ifndef FAKE_NVML_PLAYED_H
#define FAKE_NVML_PLAYED_H

#ifdef NVML_HEADER
#include NVML_HEADER
#else
typedef int nvmlReturn_t, nvmlClockType_t, nvmlTemperatureSensors_t, nvmlMemoryErrorType_t, nvmlEccCounterType_t;
typedef int nvmlEnableState_t, nvmlPcieUtilCounter_t;
typedef unsigned nvmlDeviceArchitecture_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct nvmlEventSet_st *nvmlEventSet_t;
typedef unsigned long long u64;
typedef struct { unsigned version; nvmlTemperatureSensors_t sensorType; int temperature; } nvmlTemperature_t;
typedef struct { unsigned version; int marginTemperature; } nvmlMarginTemperature_t;
typedef struct { u64 total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; u64 total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned pid; u64 usedGpuMemory; unsigned gpuInstanceId, computeInstanceId; } nvmlProcessInfo_t;
typedef nvmlProcessInfo_t nvmlProcessInfo_v2_t;
typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;
typedef struct {
    unsigned multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount, sharedJpegCount,
        sharedOfaCount, gpuInstanceSliceCount, computeInstanceSliceCount;
    u64 memorySizeMB;
} nvmlDeviceAttributes_t;
typedef struct { unsigned version; u64 counts[11]; unsigned bThresholdExceeded; } nvmlEccSramErrorStatus_t;
typedef struct {
    unsigned version;
    unsigned char clusterUuid[16];
    nvmlReturn_t status;
    unsigned cliqueId;
    unsigned char state;
    unsigned healthMask;
    unsigned char healthSummary;
} nvmlGpuFabricInfoV_t;
typedef union { double dVal; unsigned uiVal; unsigned long ulVal; u64 ullVal; long long sllVal; } nvmlValue_t;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType;
    nvmlReturn_t nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;
typedef struct {
    nvmlDevice_t device;
    u64 eventType, eventData;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlEventData_t;
#endif

enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    TOO_SMALL = 7,
    TIMEOUT = 10,
    LOST = 15,
    WRONG_VERSION = 25,
};
enum { DEVICES = 16, INSTANCES = 8, ENTRIES = 8192, EVENTS = 256, NAMES = 256 };

struct nvmlDevice_st { char ident[16]; };
struct played_event { int device; unsigned long long type, data; unsigned instance; };

extern struct nvmlDevice_st node; /* for calls about no device */
extern struct played_event events[EVENTS];
extern int event_count, told, initialised, misused;

/* The value of a key, or NULL; that of a number, or another one. Between begin and end. */
const char *find(nvmlDevice_t device, const char *key);
long long number_or(nvmlDevice_t device, const char *key, long long other);

/* The answer that the file gives a function, or OK. Counted by the name. */
nvmlReturn_t failure(nvmlDevice_t device, const char *name);
void count(const char *name);

/* The frame of a function. begin locks if it answers OK, and enter in any case; end unlocks. */
void enter(const char *function);
nvmlReturn_t begin(nvmlDevice_t device, const char *function);
nvmlReturn_t end(int code);

/* A whole function that tells one number or one text. */
nvmlReturn_t number(nvmlDevice_t device, const char *function, const char *key, long long *out);
nvmlReturn_t words(nvmlDevice_t device, const char *function, const char *key, char *out, unsigned length);

#endif
