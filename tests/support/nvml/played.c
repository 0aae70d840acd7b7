/* The node of a text file, and what was asked of it: see nvml.c. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "played.h"

struct nvmlDevice_st node = {"node"};
struct played_event events[EVENTS];
int event_count, told, initialised, misused;

static struct { char *ident, *key, *value; } entries[ENTRIES];
static struct { char name[64]; unsigned calls; } counts[NAMES];
static int entry_count;
static char *text, path[4096];
static struct stat seen;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* The file. */

static char *word(char **at) {
    char *from = *at + strspn(*at, " ");
    if (!*from) return NULL;
    char stop = *from == '"' ? '"' : ' ';
    from += stop == '"';
    char *end = strchrnul(from, stop);
    *at = *end ? end + 1 : end;
    *end = 0;
    return from;
}

static void take(char *line) {
    char *kind = word(&line), *ident, *key, *value;
    if (!kind || *kind == '#') return;
    if (!strcmp(kind, "event")) {
        ident = word(&line), key = word(&line), value = word(&line);
        char *instance = word(&line);
        if (event_count == EVENTS || !value) abort();
        events[event_count].device = atoi(ident);
        events[event_count].type = strtoull(key, NULL, 0);
        events[event_count].data = strtoull(value, NULL, 0);
        events[event_count++].instance = instance ? (unsigned)strtoul(instance, NULL, 0) : 0xFFFFFFFFu;
        return;
    }
    ident = strcmp(kind, "device") ? kind : word(&line);
    while ((key = word(&line)) && (value = word(&line))) {
        if (entry_count == ENTRIES) abort();
        entries[entry_count].ident = ident;
        entries[entry_count].key = key;
        entries[entry_count++].value = value;
    }
}

static void refresh(void) {
    const char *name = getenv("FAKE_NVML");
    struct stat now = {0};
    if (!name || stat(name, &now)) name = "";
    if (strcmp(name, path)) { /* another test: nothing has happened yet */
        snprintf(path, sizeof path, "%s", name);
        memset(counts, 0, sizeof counts);
        told = misused = 0;
    } else if (now.st_ino == seen.st_ino && now.st_size == seen.st_size
               && !memcmp(&now.st_mtim, &seen.st_mtim, sizeof now.st_mtim)) {
        return;
    }
    seen = now;
    entry_count = event_count = 0;
    FILE *file = *name ? fopen(name, "r") : NULL;
    if (!file) return;
    text = realloc(text, (size_t)now.st_size + 1);
    text[fread(text, 1, (size_t)now.st_size, file)] = 0;
    fclose(file);
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        take(line);
    }
}

const char *find(nvmlDevice_t device, const char *key) {
    for (int i = entry_count - 1; i >= 0; i--) /* the last word counts */
        if (!strcmp(entries[i].key, key) && !strcmp(entries[i].ident, device->ident)) return entries[i].value;
    return NULL;
}

long long number_or(nvmlDevice_t device, const char *key, long long other) {
    const char *value = find(device, key);
    return value ? strtoll(value, NULL, 0) : other;
}

void count(const char *name) {
    int i = 0;
    while (i < NAMES - 1 && counts[i].calls && strcmp(counts[i].name, name)) i++;
    snprintf(counts[i].name, sizeof counts[i].name, "%s", name);
    counts[i].calls++;
}

nvmlReturn_t failure(nvmlDevice_t device, const char *name) {
    char key[80];
    snprintf(key, sizeof key, "fail.%s", name);
    long long code = number_or(&node, "gone", 0);
    if (!code) code = number_or(&node, key, 0);
    if (!code) code = number_or(device, "away", 0);
    return (nvmlReturn_t)(code ? code : number_or(device, key, 0));
}

void enter(const char *function) {
    pthread_mutex_lock(&mutex);
    refresh();
    count(function);
}

nvmlReturn_t begin(nvmlDevice_t device, const char *function) {
    enter(function);
    nvmlReturn_t code = initialised ? failure(device, function) : UNINITIALIZED;
    if (code) pthread_mutex_unlock(&mutex);
    return code;
}

nvmlReturn_t end(int code) {
    pthread_mutex_unlock(&mutex);
    return (nvmlReturn_t)code;
}

nvmlReturn_t number(nvmlDevice_t device, const char *function, const char *key, long long *out) {
    nvmlReturn_t code = begin(device, function);
    if (code) return code;
    const char *value = find(device, key);
    if (value) *out = strtoll(value, NULL, 0);
    return end(value ? OK : NOT_SUPPORTED);
}

nvmlReturn_t words(nvmlDevice_t device, const char *function, const char *key, char *out, unsigned length) {
    nvmlReturn_t code = begin(device, function);
    if (code) return code;
    const char *value = find(device, key);
    if (value) snprintf(out, length, "%s", value);
    return end(value ? OK : NOT_SUPPORTED);
}

/* For tests. */

unsigned fake_nvml_calls(const char *name) {
    pthread_mutex_lock(&mutex);
    unsigned calls = 0;
    for (int i = 0; i < NAMES; i++)
        if (!strcmp(counts[i].name, name)) calls += counts[i].calls;
    pthread_mutex_unlock(&mutex);
    return calls;
}

int fake_nvml_initialised(void) { return initialised; }
int fake_nvml_misused(void) { return misused; }
