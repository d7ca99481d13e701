/* Loaded into the daemon's processes by tests/support/faults.py: a file system without space, and a clock that jumps.

   A control file, shared between all of them, holds three doubles: seconds to add to the wall clock, whether the
   file systems below a folder are full, and whether only that of the ledger is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static volatile double *control;
static const char *root;
static size_t root_length;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("FAULTS_CONTROL");
    root = getenv("FAULTS_ROOT");
    if (name == NULL || root == NULL)
        return;
    root_length = strlen(root);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    void *shared = mmap(NULL, 3 * sizeof(double), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        control = shared;
}

static int full(int fd) {
    if (control == NULL || (control[1] == 0 && control[2] == 0))
        return 0;
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (length < (ssize_t)root_length || strncmp(path, root, root_length) != 0)
        return 0;
    if (control[1] == 0 && strncmp(path + root_length, "/ledger.", 8) != 0)
        return 0;
    errno = ENOSPC;
    return 1;
}

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    return full(fd) ? -1 : next(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    NEXT(pwrite);
    return full(fd) ? -1 : next(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    NEXT(pwrite64);
    return full(fd) ? -1 : next(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    NEXT(writev);
    return full(fd) ? -1 : next(fd, pieces, count);
}

int fallocate(int fd, int mode, off_t at, off_t size) {
    NEXT(fallocate);
    return full(fd) ? -1 : next(fd, mode, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size) {
    NEXT(posix_fallocate);
    return full(fd) ? ENOSPC : next(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    NEXT(posix_fallocate64);
    return full(fd) ? ENOSPC : next(fd, at, size);
}

int clock_gettime(clockid_t clock, struct timespec *told) {
    NEXT(clock_gettime);
    int done = next(clock, told);
    if (done == 0 && control != NULL && clock == CLOCK_REALTIME) {
        double whole = floor(control[0]);
        told->tv_sec += (time_t)whole;
    }
    return done;
}

int gettimeofday(struct timeval *told, void *zone) {
    NEXT(gettimeofday);
    int done = next(told, zone);
    if (done == 0 && control != NULL)
        told->tv_sec += (time_t)floor(control[0]);
    return done;
}

time_t time(time_t *where) {
    NEXT(time);
    time_t now = next(NULL);
    if (control != NULL)
        now += (time_t)floor(control[0]);
    if (where != NULL)
        *where = now;
    return now;
}
